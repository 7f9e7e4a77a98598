"""Restocks of the south warehouse: one event for each product of a supplier's delivery."""

from acme_world.wire.sources import restocks
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("south_warehouse.restocks_south", source=restocks(rename={"employee_id": "staff_no"}))

if __name__ == "__main__":
    run_producer(producer)
