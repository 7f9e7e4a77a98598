-- The east writes local time. In the hour that a clock passes twice, the envelope's time says which one it was.
select
    r.event_id,
    r.order_id,
    r.line_number,
    r.customer_id,
    r.product_id,
    s.warehouse_id,
    case
        when timezone(s.time_zone, r.event_time) = r.order_time then r.event_time
        else timezone(s.time_zone, r.order_time)
    end as order_ts,
    r.quantity,
    r.unit_price as unit_price_usd,
    r.amount as amount_usd,
    r.status,
    r.currency
from east_warehouse.orders_east__raw as r
inner join mesh.sites as s on s.domain = 'east_warehouse'
