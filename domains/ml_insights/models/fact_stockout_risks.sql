select
    event_id,
    prediction_id,
    product_id,
    warehouse_id,
    risk_score,
    risk_level,
    days_of_cover,
    horizon_days,
    model_name,
    model_version,
    predicted_ts,
    cast(predicted_ts as date) as predicted_date
from ml_insights.stockout_risk
