-- The plain form: what the warehouse sends is in UTC and US dollars and has the common names already.
select
    r.event_id,
    r.order_id,
    r.line_number,
    r.customer_id,
    r.product_id,
    s.warehouse_id,
    r.order_time as order_ts,
    r.quantity,
    r.unit_price as unit_price_usd,
    r.amount as amount_usd,
    r.status,
    r.currency
from {{ cookiecutter.domain }}.orders_{{ cookiecutter.region }}__raw as r
inner join mesh.sites as s on s.domain = '{{ cookiecutter.domain }}'
