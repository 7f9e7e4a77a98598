"""Forecasts of demand, one for each product and warehouse a day: drawn by the simulation until a model exists."""

from acme_world.wire.sources import demand_forecast
from mesh_platform.cli import run_producer
from mesh_platform.events.producer import Producer

producer = Producer("ml_insights.demand_forecast", source=demand_forecast())

if __name__ == "__main__":
    run_producer(producer)
