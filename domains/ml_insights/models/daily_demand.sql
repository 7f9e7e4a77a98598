select
    f.product_id,
    f.warehouse_id,
    f.order_date as date,
    p.category,
    p.list_price_usd,
    cast(sum(f.quantity) as bigint) as units,
    cast(sum(f.amount_usd) as decimal(18, 2)) as amount_usd
from logistics_core.fact_orders as f
inner join logistics_core.dim_product as p on p.product_id = f.product_id
where p.list_price_usd is not null
group by f.product_id, f.warehouse_id, f.order_date, p.category, p.list_price_usd
