"""Stock movements of the east warehouse: one event for each pick or adjustment."""

from acme_world.wire.sources import inventory
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer(
    "east_warehouse.inventory_east",
    source=inventory(counted="direction", available="less_promised", local_time=True),
)

if __name__ == "__main__":
    run_producer(producer)
