-- South Ops says client_no where everybody else says customer_id.
select
    r.event_id,
    r.order_id,
    r.line_number,
    r.client_no as customer_id,
    r.product_id,
    s.warehouse_id,
    r.order_time as order_ts,
    r.quantity,
    r.unit_price as unit_price_usd,
    r.amount as amount_usd,
    r.status,
    r.currency
from south_warehouse.orders_south__raw as r
inner join mesh.sites as s on s.domain = 'south_warehouse'
