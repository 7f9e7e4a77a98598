-- Refunds are in CAD (now and then in USD); one is worth what the booked rate of its own month makes of it.
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
    cast(round(r.refund_amount * case when r.currency = 'USD' then 1 else x.usd_per_unit end, 2) as decimal(12, 2))
        as refund_amount_usd,
    r.reason,
    r.condition,
    r.currency
from north_warehouse.returns_north__raw as r
inner join mesh.sites as s on s.domain = 'north_warehouse'
left join north_warehouse.exchange_rates as x
    on x.currency = r.currency
    and x.month = cast(date_trunc('month', r.return_time) as date)
