select f.target_date as date, w.region, p.category, f.predicted_units, s.sold
from ml_insights.fact_forecast_demand__resolved f
join logistics_core.dim_warehouse w using (warehouse_id)
join logistics_core.dim_product p using (product_id)
left join (
    select product_id, warehouse_id, order_date, sum(quantity) as sold
    from logistics_core.fact_orders
    group by product_id, warehouse_id, order_date
) s on s.product_id = f.product_id and s.warehouse_id = f.warehouse_id and s.order_date = f.target_date
