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
    promised_ts,
    delivered_ts,
    cast(delivered_ts as date) as delivered_date,
    load_kg,
    delay_minutes,
    sla_met
from logistics_core.delivery_sla
