"""Risks of late delivery, one for each dispatched order: drawn by the simulation until a model exists."""

from acme_world.wire.sources import sla_risk
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("ml_insights.sla_risk", source=sla_risk())

if __name__ == "__main__":
    run_producer(producer)
