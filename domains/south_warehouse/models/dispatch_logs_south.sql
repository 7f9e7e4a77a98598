-- South Ops says staff_no where everybody else says employee_id.
select
    r.event_id,
    r.dispatch_id,
    r.trip_id,
    r.order_id,
    s.warehouse_id,
    r.vehicle_id,
    r.route_id,
    r.staff_no as employee_id,
    r.package_count,
    r.weight_kg,
    r.promised_time as promised_ts,
    r.dispatch_time as dispatch_ts
from south_warehouse.dispatch_logs_south__raw as r
inner join mesh.sites as s on s.domain = 'south_warehouse'
