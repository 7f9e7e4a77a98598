-- The north counts as the mesh does: signed, in units. What it calls available is what it has on hand.
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
from north_warehouse.inventory_north__raw as r
inner join mesh.sites as s on s.domain = 'north_warehouse'
