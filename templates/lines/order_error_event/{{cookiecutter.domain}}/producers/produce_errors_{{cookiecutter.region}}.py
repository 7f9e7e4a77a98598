"""Order errors of the {{ cookiecutter.region.replace("_", " ") }} warehouse: one event for each order, line or system that fails."""

from acme_world.wire.sources import order_errors
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("{{ cookiecutter.domain }}.order_errors_{{ cookiecutter.region }}", source=order_errors())

if __name__ == "__main__":
    run_producer(producer)
