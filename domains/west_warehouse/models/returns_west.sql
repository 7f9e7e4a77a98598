-- The west keeps its loyalty tier, which no other warehouse has.
select
    r.event_id,
    r.return_id,
    r.order_id,
    r.line_number,
    r.customer_id,
    r.product_id,
    s.warehouse_id,
    r.return_time as return_ts,
    r.quantity,
    r.refund_amount as refund_amount_usd,
    r.reason,
    r.condition,
    r.currency,
    r.loyalty_tier
from west_warehouse.returns_west__raw as r
inner join mesh.sites as s on s.domain = 'west_warehouse'
