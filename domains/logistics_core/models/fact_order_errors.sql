-- What the warehouses report, and each delivery that missed its promise.
select
    event_id,
    error_id,
    case when order_id is null then 'system' else 'order' end as source,
    error_code,
    order_id,
    line_number,
    product_id,
    warehouse_id,
    error_ts,
    cast(error_ts as date) as error_date,
    quantity,
    message
from logistics_core.order_error_v1
union all
select
    event_id,
    delivery_id,
    'delivery',
    'E-501',
    order_id,
    null,
    null,
    warehouse_id,
    delivered_ts,
    cast(delivered_ts as date),
    null,
    concat('Delivered ', delay_minutes, ' min after the promised time.')
from logistics_core.delivery_sla
where not sla_met
