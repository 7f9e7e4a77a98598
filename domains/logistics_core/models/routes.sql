select
    event_id,
    update_id,
    route_id,
    distance_km,
    promised_hours,
    road_class,
    status,
    reason,
    effective_time as effective_ts
from logistics_core.routes__raw
