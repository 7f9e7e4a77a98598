select a.order_date as date, w.region, a.measure, a.observed, a.expected, a.score, a.is_anomaly
from ml_insights.fact_order_anomalies__resolved a
join logistics_core.dim_warehouse w using (warehouse_id)
