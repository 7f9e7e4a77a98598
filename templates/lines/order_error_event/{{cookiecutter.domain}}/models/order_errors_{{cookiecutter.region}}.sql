-- The plain form: what the warehouse sends is in UTC and has the common names already.
select
    r.event_id,
    r.error_id,
    r.error_code,
    r.order_id,
    r.line_number,
    r.product_id,
    r.quantity,
    s.warehouse_id,
    r.message,
    r.error_time as error_ts
from {{ cookiecutter.domain }}.order_errors_{{ cookiecutter.region }}__raw as r
inner join mesh.sites as s on s.domain = '{{ cookiecutter.domain }}'
