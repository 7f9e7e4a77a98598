"""Reports of the vehicles: one event for each assignment, departure, position and completion."""

from acme_world.wire.sources import vehicle_tracking
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("logistics_core.vehicle_tracking", source=vehicle_tracking())

if __name__ == "__main__":
    run_producer(producer)
