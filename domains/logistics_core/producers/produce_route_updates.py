"""Updates of the routes: one event for each detour, end of a detour, or new plan."""

from acme_world.wire.sources import route_updates
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("logistics_core.routes", source=route_updates())

if __name__ == "__main__":
    run_producer(producer)
