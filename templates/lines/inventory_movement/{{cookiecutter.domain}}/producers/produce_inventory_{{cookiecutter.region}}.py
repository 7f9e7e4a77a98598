"""Stock movements of the {{ cookiecutter.region.replace("_", " ") }} warehouse: one event for each pick or adjustment."""

from acme_world.wire.sources import inventory
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("{{ cookiecutter.domain }}.inventory_{{ cookiecutter.region }}", source=inventory(counted="signed", available="on_hand"))

if __name__ == "__main__":
    run_producer(producer)
