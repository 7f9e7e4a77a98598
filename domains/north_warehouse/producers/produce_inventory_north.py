"""Stock movements of the north warehouse: one event for each pick or adjustment."""

from acme_world.wire.sources import inventory
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("north_warehouse.inventory_north", source=inventory(counted="signed", available="on_hand"))

if __name__ == "__main__":
    run_producer(producer)
