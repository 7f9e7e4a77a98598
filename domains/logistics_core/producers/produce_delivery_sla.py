"""Deliveries: one event for each order that was handed over."""

from acme_world.wire.sources import delivery_sla
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("logistics_core.delivery_sla", source=delivery_sla())

if __name__ == "__main__":
    run_producer(producer)
