-- The west keeps its loyalty tier, which no other warehouse has.
select
    r.event_id,
    r.order_id,
    r.line_number,
    r.customer_id,
    r.product_id,
    s.warehouse_id,
    r.order_time as order_ts,
    r.quantity,
    r.unit_price as unit_price_usd,
    r.amount as amount_usd,
    r.status,
    r.currency,
    r.loyalty_tier
from west_warehouse.orders_west__raw as r
inner join mesh.sites as s on s.domain = 'west_warehouse'
