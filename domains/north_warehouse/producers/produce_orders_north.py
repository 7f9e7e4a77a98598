"""Orders of the north warehouse: one event for each order line."""

from acme_world.orders import order_lines
from mesh_platform.cli import run_producer
from mesh_platform.producer import Producer

producer = Producer("north_warehouse.orders_north", source=order_lines())

if __name__ == "__main__":
    run_producer(producer)
