-- The plain form: what the warehouse sends is in UTC and US dollars and has the common names already.
select
    r.event_id,
    r.restock_id,
    r.product_id,
    s.warehouse_id,
    r.supplier_id,
    r.employee_id,
    r.quantity,
    r.unit_cost as unit_cost_usd,
    r.restock_time as restock_ts,
    r.currency
from {{ cookiecutter.domain }}.restocks_{{ cookiecutter.region }}__raw as r
inner join mesh.sites as s on s.domain = '{{ cookiecutter.domain }}'
