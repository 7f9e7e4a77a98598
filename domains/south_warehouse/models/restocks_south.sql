-- South Ops says staff_no where everybody else says employee_id.
select
    r.event_id,
    r.restock_id,
    r.product_id,
    s.warehouse_id,
    r.supplier_id,
    r.staff_no as employee_id,
    r.quantity,
    r.unit_cost as unit_cost_usd,
    r.restock_time as restock_ts,
    r.currency
from south_warehouse.restocks_south__raw as r
inner join mesh.sites as s on s.domain = 'south_warehouse'
