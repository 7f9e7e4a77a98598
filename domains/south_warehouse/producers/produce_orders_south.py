"""Orders of the south warehouse: one event for each order line."""

from acme_world.wire.sources import orders
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("south_warehouse.orders_south", source=orders(rename={"customer_id": "client_no"}))

if __name__ == "__main__":
    run_producer(producer)
