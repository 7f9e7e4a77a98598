"""Risks of empty shelves, one for each product and warehouse a day: drawn by the simulation until a model exists."""

from acme_world.wire.sources import stockout_risk
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("ml_insights.stockout_risk", source=stockout_risk())

if __name__ == "__main__":
    run_producer(producer)
