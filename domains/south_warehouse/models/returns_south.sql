-- South Ops says client_no where everybody else says customer_id.
select
    r.event_id,
    r.return_id,
    r.order_id,
    r.line_number,
    r.client_no as customer_id,
    r.product_id,
    s.warehouse_id,
    r.return_time as return_ts,
    r.quantity,
    r.refund_amount as refund_amount_usd,
    r.reason,
    r.condition,
    r.currency
from south_warehouse.returns_south__raw as r
inner join mesh.sites as s on s.domain = 'south_warehouse'
