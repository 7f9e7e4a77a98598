-- The plain form: what the warehouse sends is in UTC and has the common names already.
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
from {{ cookiecutter.domain }}.dispatch_logs_{{ cookiecutter.region }}__raw as r
inner join mesh.sites as s on s.domain = '{{ cookiecutter.domain }}'
