"""Dispatches of the east warehouse: one event for each order that leaves."""

from acme_world.wire.sources import dispatch_logs
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("east_warehouse.dispatch_logs_east", source=dispatch_logs(local_time=True))

if __name__ == "__main__":
    run_producer(producer)
