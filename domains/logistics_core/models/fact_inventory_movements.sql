-- What warehouses move themselves, and what suppliers bring: the one never repeats the other.
select
    event_id,
    movement_id,
    product_id,
    warehouse_id,
    employee_id,
    movement_type,
    reason,
    order_id,
    movement_ts,
    cast(movement_ts as date) as movement_date,
    quantity_change
from logistics_core.inventory_movement_v1
union all
select
    event_id,
    restock_id,
    product_id,
    warehouse_id,
    employee_id,
    'restock',
    'supplier_delivery',
    null,
    restock_ts,
    cast(restock_ts as date),
    quantity
from logistics_core.restock_v1
