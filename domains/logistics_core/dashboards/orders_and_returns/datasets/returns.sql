select t.return_date as date, w.region, p.category, t.reason, t.condition, t.quantity, t.refund_amount_usd
from logistics_core.fact_returns__resolved t
join logistics_core.dim_warehouse w using (warehouse_id)
join logistics_core.dim_product p using (product_id)
