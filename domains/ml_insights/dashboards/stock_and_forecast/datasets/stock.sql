select k.date, w.region, p.product_name, p.category, k.product_id, k.inventory_available, k.received, k.picked, k.adjusted,
    k.date = max(k.date) over () as is_last_day
from logistics_core.kpi_inventory_available__resolved k
join logistics_core.dim_warehouse w using (warehouse_id)
join logistics_core.dim_product p using (product_id)
