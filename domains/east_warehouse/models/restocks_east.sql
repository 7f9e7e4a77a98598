-- The east writes local time. In the hour that a clock passes twice, the envelope's time says which one it was.
select
    r.event_id,
    r.restock_id,
    r.product_id,
    s.warehouse_id,
    r.supplier_id,
    r.employee_id,
    r.quantity,
    r.unit_cost as unit_cost_usd,
    case
        when timezone(s.time_zone, r.event_time) = r.restock_time then r.event_time
        else timezone(s.time_zone, r.restock_time)
    end as restock_ts,
    r.currency
from east_warehouse.restocks_east__raw as r
inner join mesh.sites as s on s.domain = 'east_warehouse'
