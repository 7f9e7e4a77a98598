"""Restocks of the {{ cookiecutter.region.replace("_", " ") }} warehouse: one event for each product of a supplier's delivery."""

from acme_world.wire.sources import restocks
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("{{ cookiecutter.domain }}.restocks_{{ cookiecutter.region }}", source=restocks())

if __name__ == "__main__":
    run_producer(producer)
