"""Stock movements of the west warehouse: one event for each pick or adjustment."""

from acme_world.wire.sources import inventory
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer(
    "west_warehouse.inventory_west",
    source=inventory(counted="before_after", available="plus_incoming"),
)

if __name__ == "__main__":
    run_producer(producer)
