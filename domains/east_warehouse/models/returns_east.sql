-- The east writes local time. In the hour that a clock passes twice, the envelope's time says which one it was.
select
    r.event_id,
    r.return_id,
    r.order_id,
    r.line_number,
    r.customer_id,
    r.product_id,
    s.warehouse_id,
    case
        when timezone(s.time_zone, r.event_time) = r.return_time then r.event_time
        else timezone(s.time_zone, r.return_time)
    end as return_ts,
    r.quantity,
    r.refund_amount as refund_amount_usd,
    r.reason,
    r.condition,
    r.currency
from east_warehouse.returns_east__raw as r
inner join mesh.sites as s on s.domain = 'east_warehouse'
