-- The union over all products that implement return.v1.
select
    event_id,
    return_id,
    order_id,
    line_number,
    customer_id,
    product_id,
    warehouse_id,
    return_ts,
    cast(return_ts as date) as return_date,
    quantity,
    refund_amount_usd,
    reason,
    condition
from logistics_core.return_v1
