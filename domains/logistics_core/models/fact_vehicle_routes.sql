select
    event_id,
    tracking_id,
    trip_id,
    vehicle_id,
    route_id,
    driver_id,
    warehouse_id,
    activity,
    weather,
    tracked_ts,
    cast(tracked_ts as date) as tracked_date,
    distance_km,
    speed_kmh,
    load_kg
from logistics_core.vehicle_tracking
