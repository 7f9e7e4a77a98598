"""Returns of the east warehouse: one event for each order line that comes back."""

from acme_world.wire.sources import returns
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("east_warehouse.returns_east", source=returns(local_time=True))

if __name__ == "__main__":
    run_producer(producer)
