-- The north sends it as the mesh has it: in UTC, with the common names.
select
    r.event_id,
    r.dispatch_id,
    r.trip_id,
    r.order_id,
    s.warehouse_id,
    r.vehicle_id,
    r.route_id,
    r.employee_id,
    r.package_count,
    r.weight_kg,
    r.promised_time as promised_ts,
    r.dispatch_time as dispatch_ts
from north_warehouse.dispatch_logs_north__raw as r
inner join mesh.sites as s on s.domain = 'north_warehouse'
