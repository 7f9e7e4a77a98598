"""Orders of the {{ cookiecutter.region.replace("_", " ") }} warehouse: one event for each order line."""

from acme_world.orders import order_lines
from mesh_platform.cli import run_producer
from mesh_platform.producer import Producer

producer = Producer("{{ cookiecutter.domain }}.orders_{{ cookiecutter.region }}", source=order_lines())

if __name__ == "__main__":
    run_producer(producer)
