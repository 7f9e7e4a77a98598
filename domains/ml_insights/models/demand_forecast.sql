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
    generated_time as generated_ts
from ml_insights.demand_forecast__raw
