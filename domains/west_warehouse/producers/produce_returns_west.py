"""Returns of the west warehouse: one event for each order line that comes back."""

from acme_world.wire.sources import returns
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("west_warehouse.returns_west", source=returns(extra=["loyalty_tier"]))

if __name__ == "__main__":
    run_producer(producer)
