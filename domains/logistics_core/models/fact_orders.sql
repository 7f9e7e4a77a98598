-- The union over all products that implement order.v1: a new warehouse joins without an edit here.
select
    event_id,
    order_id,
    line_number,
    customer_id,
    product_id,
    warehouse_id,
    order_ts,
    cast(order_ts as date) as order_date,
    quantity,
    unit_price_usd,
    amount_usd,
    status
from logistics_core.order_v1
