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
    predicted_time as predicted_ts
from ml_insights.stockout_risk__raw
