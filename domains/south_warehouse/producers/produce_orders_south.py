"""Orders of the south warehouse: one event for each order line."""

from acme_world.orders import order_lines
from mesh_platform.cli import run_producer
from mesh_platform.producer import Producer

producer = Producer("south_warehouse.orders_south", source=order_lines(rename={"customer_id": "client_no"}))

if __name__ == "__main__":
    run_producer(producer)
