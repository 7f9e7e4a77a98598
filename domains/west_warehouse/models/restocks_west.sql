-- The west sends it as the mesh has it: in UTC, with the common names.
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
from west_warehouse.restocks_west__raw as r
inner join mesh.sites as s on s.domain = 'west_warehouse'
