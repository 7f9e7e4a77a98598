"""Orders of the west warehouse: one event for each order line."""

from acme_world.orders import order_lines
from mesh_platform.cli import run_producer
from mesh_platform.producer import Producer

producer = Producer("west_warehouse.orders_west", source=order_lines(extra=["loyalty_tier"]))

if __name__ == "__main__":
    run_producer(producer)
