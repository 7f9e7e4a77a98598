"""Restocks of the west warehouse: one event for each product of a supplier's delivery."""

from acme_world.wire.sources import restocks
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("west_warehouse.restocks_west", source=restocks())

if __name__ == "__main__":
    run_producer(producer)
