-- The north sends it as the mesh has it: in UTC, with the common names.
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
from north_warehouse.order_errors_north__raw as r
inner join mesh.sites as s on s.domain = 'north_warehouse'
