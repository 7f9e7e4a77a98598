select o.order_date as date, w.region, p.category, o.order_id, o.quantity, o.amount_usd,
    coalesce(r.refunded_usd, 0) as refunded_usd, coalesce(r.returned, 0) as returned
from logistics_core.fact_orders__resolved o
join logistics_core.dim_warehouse w using (warehouse_id)
join logistics_core.dim_product p using (product_id)
left join (
    select order_id, line_number, sum(refund_amount_usd) as refunded_usd, sum(quantity) as returned
    from logistics_core.fact_returns
    group by order_id, line_number
) r using (order_id, line_number)
