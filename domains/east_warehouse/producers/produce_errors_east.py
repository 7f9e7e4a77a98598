"""Order errors of the east warehouse: one event for each order, line or system that fails."""

from acme_world.wire.sources import order_errors
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("east_warehouse.order_errors_east", source=order_errors(local_time=True))

if __name__ == "__main__":
    run_producer(producer)
