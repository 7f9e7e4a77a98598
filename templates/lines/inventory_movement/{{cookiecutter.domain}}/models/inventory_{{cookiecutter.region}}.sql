-- The plain form: what the warehouse sends is in UTC and signed units and has the common names already.
select
    r.event_id,
    r.movement_id,
    r.product_id,
    s.warehouse_id,
    r.employee_id,
    r.movement_type,
    r.reason,
    r.order_id,
    r.quantity_change,
    r.movement_time as movement_ts,
    r.inventory_available as reported_available
from {{ cookiecutter.domain }}.inventory_{{ cookiecutter.region }}__raw as r
inner join mesh.sites as s on s.domain = '{{ cookiecutter.domain }}'
