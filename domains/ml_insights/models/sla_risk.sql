select
    event_id,
    prediction_id,
    dispatch_id,
    order_id,
    warehouse_id,
    vehicle_id,
    route_id,
    risk_score,
    risk_level,
    model_name,
    model_version,
    predicted_time as predicted_ts
from ml_insights.sla_risk__raw
