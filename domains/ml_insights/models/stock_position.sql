select
    product_id,
    warehouse_id,
    date,
    inventory_available as on_hand,
    received
from logistics_core.kpi_inventory_available
