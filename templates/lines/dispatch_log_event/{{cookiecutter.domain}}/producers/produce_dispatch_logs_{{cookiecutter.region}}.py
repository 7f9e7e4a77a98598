"""Dispatches of the {{ cookiecutter.region.replace("_", " ") }} warehouse: one event for each order that leaves."""

from acme_world.wire.sources import dispatch_logs
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("{{ cookiecutter.domain }}.dispatch_logs_{{ cookiecutter.region }}", source=dispatch_logs())

if __name__ == "__main__":
    run_producer(producer)
