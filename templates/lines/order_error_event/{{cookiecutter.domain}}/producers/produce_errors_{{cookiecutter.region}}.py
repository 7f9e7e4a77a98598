"""Order errors of the {{ cookiecutter.region.replace("_", " ") }} warehouse: one event for each order, line or system that fails."""

from acme_world.sources import order_errors
from mesh_platform.cli import run_producer
from mesh_platform.producer import Producer

producer = Producer("{{ cookiecutter.domain }}.order_errors_{{ cookiecutter.region }}", source=order_errors())

if __name__ == "__main__":
    run_producer(producer)
