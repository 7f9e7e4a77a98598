-- Each report as it was sent: vehicles all report in UTC and in one form.
select
    event_id,
    tracking_id,
    trip_id,
    vehicle_id,
    route_id,
    driver_id,
    warehouse_id,
    activity,
    home_route_id,
    condition,
    weather,
    distance_km,
    speed_kmh,
    load_kg,
    tracked_time as tracked_ts
from logistics_core.vehicle_tracking__raw
