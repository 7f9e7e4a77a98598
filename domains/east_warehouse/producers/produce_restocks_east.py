"""Restocks of the east warehouse: one event for each product of a supplier's delivery."""

from acme_world.wire.sources import restocks
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("east_warehouse.restocks_east", source=restocks(local_time=True))

if __name__ == "__main__":
    run_producer(producer)
