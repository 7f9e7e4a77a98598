-- Costs are in CAD (now and then in USD); one is worth what the booked rate of its month makes of it.
select
    r.event_id,
    r.restock_id,
    r.product_id,
    s.warehouse_id,
    r.supplier_id,
    r.employee_id,
    r.quantity,
    cast(round(r.unit_cost * case when r.currency = 'USD' then 1 else x.usd_per_unit end, 2) as decimal(12, 2))
        as unit_cost_usd,
    r.restock_time as restock_ts,
    r.currency
from north_warehouse.restocks_north__raw as r
inner join mesh.sites as s on s.domain = 'north_warehouse'
left join north_warehouse.exchange_rates as x
    on x.currency = r.currency
    and x.month = cast(date_trunc('month', r.restock_time) as date)
