"""Stock movements of the south warehouse: one event for each pick or adjustment."""

from acme_world.wire.sources import inventory
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer(
    "south_warehouse.inventory_south",
    source=inventory(counted="cases", available="less_safety_stock", rename={"employee_id": "staff_no"}),
)

if __name__ == "__main__":
    run_producer(producer)
