-- The west tells the stock before and after. What it calls available has what is on the way in it.
select
    r.event_id,
    r.movement_id,
    r.product_id,
    s.warehouse_id,
    r.employee_id,
    r.movement_type,
    r.reason,
    r.order_id,
    r.on_hand_after - r.on_hand_before as quantity_change,
    r.movement_time as movement_ts,
    r.inventory_available as reported_available
from west_warehouse.inventory_west__raw as r
inner join mesh.sites as s on s.domain = 'west_warehouse'
