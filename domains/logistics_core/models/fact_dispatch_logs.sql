-- The union over all products that implement dispatch_log.v1.
select
    event_id,
    dispatch_id,
    trip_id,
    order_id,
    warehouse_id,
    vehicle_id,
    route_id,
    employee_id,
    promised_ts,
    dispatch_ts,
    cast(dispatch_ts as date) as dispatch_date,
    package_count,
    weight_kg
from logistics_core.dispatch_log_v1
