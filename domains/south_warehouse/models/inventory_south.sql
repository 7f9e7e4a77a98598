-- The south counts in cases and loose units, out or in. What it calls available leaves out its safety stock.
select
    r.event_id,
    r.movement_id,
    r.product_id,
    s.warehouse_id,
    r.staff_no as employee_id,
    r.movement_type,
    r.reason,
    r.order_id,
    case r.direction when 'in' then 1 else -1 end * (r.cases * r.units_per_case + r.loose_units) as quantity_change,
    r.movement_time as movement_ts,
    r.inventory_available as reported_available
from south_warehouse.inventory_south__raw as r
inner join mesh.sites as s on s.domain = 'south_warehouse'
