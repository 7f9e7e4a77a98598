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
    predicted_ts,
    cast(predicted_ts as date) as predicted_date
from ml_insights.sla_risk
