"""Dispatches of the south warehouse: one event for each order that leaves."""

from acme_world.wire.sources import dispatch_logs
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("south_warehouse.dispatch_logs_south", source=dispatch_logs(rename={"employee_id": "staff_no"}))

if __name__ == "__main__":
    run_producer(producer)
