"""Returns of the south warehouse: one event for each order line that comes back."""

from acme_world.wire.sources import returns
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("south_warehouse.returns_south", source=returns(rename={"customer_id": "client_no"}))

if __name__ == "__main__":
    run_producer(producer)
