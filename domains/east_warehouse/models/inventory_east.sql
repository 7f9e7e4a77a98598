-- The east writes local time. In the hour that a clock passes twice, the envelope's time says which one it was.
-- What it calls available leaves out what is promised to orders.
select
    r.event_id,
    r.movement_id,
    r.product_id,
    s.warehouse_id,
    r.employee_id,
    r.movement_type,
    r.reason,
    r.order_id,
    case r.direction when 'in' then r.quantity else -r.quantity end as quantity_change,
    case
        when timezone(s.time_zone, r.event_time) = r.movement_time then r.event_time
        else timezone(s.time_zone, r.movement_time)
    end as movement_ts,
    r.inventory_available as reported_available
from east_warehouse.inventory_east__raw as r
inner join mesh.sites as s on s.domain = 'east_warehouse'
