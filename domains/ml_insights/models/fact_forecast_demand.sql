select
    event_id,
    forecast_id,
    product_id,
    warehouse_id,
    target_date,
    horizon_days,
    predicted_units,
    lower_units,
    upper_units,
    model_name,
    model_version,
    generated_ts,
    cast(generated_ts as date) as generated_date
from ml_insights.demand_forecast
