-- Customers are known by what they order.
select
    customer_id,
    min_by(warehouse_id, struct_pack(order_ts := order_ts, event_id := event_id)) as home_warehouse_id,
    min(order_date) as first_order_date,
    max(order_date) as last_order_date,
    count(distinct order_id) as order_count,
    cast(sum(amount_usd) as decimal(18, 2)) as lifetime_amount_usd
from logistics_core.fact_orders
-- The member below has this key.
where customer_id <> 'unknown'
group by customer_id
union all
select 'unknown', 'unknown', null, null, 0, 0
