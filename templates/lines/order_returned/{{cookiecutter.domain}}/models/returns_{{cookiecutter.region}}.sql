-- The plain form: what the warehouse sends is in UTC and US dollars and has the common names already.
select
    r.event_id,
    r.return_id,
    r.order_id,
    r.line_number,
    r.customer_id,
    r.product_id,
    s.warehouse_id,
    r.return_time as return_ts,
    r.quantity,
    r.refund_amount as refund_amount_usd,
    r.reason,
    r.condition,
    r.currency
from {{ cookiecutter.domain }}.returns_{{ cookiecutter.region }}__raw as r
inner join mesh.sites as s on s.domain = '{{ cookiecutter.domain }}'
