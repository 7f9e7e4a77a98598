select
    event_id,
    delivery_id,
    dispatch_id,
    trip_id,
    order_id,
    warehouse_id,
    vehicle_id,
    route_id,
    weather,
    load_kg,
    promised_time as promised_ts,
    delivered_time as delivered_ts,
    delay_minutes,
    sla_met
from logistics_core.delivery_sla__raw
