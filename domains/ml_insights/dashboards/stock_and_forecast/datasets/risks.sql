select r.predicted_date as date, w.region, p.product_name, p.category, r.risk_level, r.risk_score, r.days_of_cover,
    r.predicted_date = max(r.predicted_date) over () as is_last_day
from ml_insights.fact_stockout_risks__resolved r
join logistics_core.dim_warehouse w using (warehouse_id)
join logistics_core.dim_product p using (product_id)
