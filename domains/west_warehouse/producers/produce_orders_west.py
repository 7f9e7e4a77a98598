"""Orders of the west warehouse: one event for each order line."""

from acme_world.wire.sources import orders
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("west_warehouse.orders_west", source=orders(extra=["loyalty_tier"]))

if __name__ == "__main__":
    run_producer(producer)
