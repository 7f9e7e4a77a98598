"""Orders of the east warehouse: one event for each order line."""

from acme_world.wire.sources import orders
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("east_warehouse.orders_east", source=orders(local_time=True))

if __name__ == "__main__":
    run_producer(producer)
