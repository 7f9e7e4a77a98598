-- Orders are billed in CAD (now and then in USD); a line is worth what its month's booked rate makes of it.
select
    r.event_id,
    r.order_id,
    r.line_number,
    r.customer_id,
    r.product_id,
    s.warehouse_id,
    r.order_time as order_ts,
    r.quantity,
    cast(round(r.unit_price * case when r.currency = 'USD' then 1 else x.usd_per_unit end, 2) as decimal(12, 2))
        as unit_price_usd,
    cast(round(r.amount * case when r.currency = 'USD' then 1 else x.usd_per_unit end, 2) as decimal(12, 2))
        as amount_usd,
    r.status,
    r.currency
from north_warehouse.orders_north__raw as r
inner join mesh.sites as s on s.domain = 'north_warehouse'
left join north_warehouse.exchange_rates as x
    on x.currency = r.currency
    and x.month = cast(date_trunc('month', r.order_time) as date)
