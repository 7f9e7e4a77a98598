"""Orders of the north warehouse: one event for each order line."""

from acme_world.wire.sources import orders
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("north_warehouse.orders_north", source=orders())

if __name__ == "__main__":
    run_producer(producer)
