"""Orders of the {{ cookiecutter.region.replace("_", " ") }} warehouse: one event for each order line."""

from acme_world.wire.sources import orders
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("{{ cookiecutter.domain }}.orders_{{ cookiecutter.region }}", source=orders())

if __name__ == "__main__":
    run_producer(producer)
