"""One trip of a vehicle on a route: its speed, its reports, and when each order is handed over.

Distances are in tenths of a km, times in ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import HOUR_MS

# The average speed, in km/h, of a van with a small load in clear weather; the factors below modify it.
SPEEDS = {"highway": 84.0, "regional": 62.0, "urban": 31.0}
BY_VEHICLE = {"van": 1.0, "electric_van": 0.95, "truck": 0.90, "semi": 0.82}
BY_WEATHER = {"clear": 1.0, "rain": 0.90, "snow": 0.74, "fog": 0.85}
LIMITED, DETOUR, FULL = 0.87, 0.94, 0.85
LUCK_SIGMA = 0.06
INCIDENT_SHARE, INCIDENT_MINUTES = 0.04, (25.0, 120.0)
# The customers of a route live along its last part.
FIRST_CUSTOMER = 0.88
# The time to hand over an order: longer, though not proportionally, for a heavy one.
STOP_MINUTES, HEAVY_MINUTES = 1.0, 1.1
REPORT_MINUTES = (50.0, 70.0)
STRETCHES = np.array([0.0, 0.22, 0.44, 0.66, FIRST_CUSTOMER])
SHARES = np.diff(STRETCHES)


@dataclass(frozen=True)
class Circumstances:
    """Everything that the speed of a trip depends on. `load` and `capacity` are in grams, `promised` in ms."""

    distance: int
    promised: int
    road_class: str
    detour: bool
    vehicle_type: str
    capacity: int
    max_speed: int
    limited: bool
    weather: str
    load: int


@dataclass(frozen=True)
class Drive:
    """The result of a trip; all times are in ms since departure.

    `delivered` and `chance_late` have an entry for each order. For each report on the way and at the end, `reported`
    has the time, `travelled` the distance since departure and `speed` tenths of km/h since the previous report.
    `back` is when the vehicle is home again.
    """

    delivered: NDArray[np.int64]
    chance_late: NDArray[np.float64]
    reported: NDArray[np.int64]
    travelled: NDArray[np.int64]
    speed: NDArray[np.int64]
    back: int


def drive(trip: Circumstances, weights: NDArray[np.int64], draw: np.random.Generator) -> Drive:
    """Simulate the trip, with orders of `weights` grams, each for a different customer."""
    usual_hours = trip.distance / 10 / _usual_speed(trip)
    stretch_hours, stretch_ends = _stretches(trip, usual_hours, draw)
    reaches_customers = stretch_hours[-1]
    last_stretch = usual_hours * (1 - FIRST_CUSTOMER)

    place = draw.random(len(weights))
    order = np.argsort(place)
    handling = (STOP_MINUTES + HEAVY_MINUTES * np.sqrt(weights / 1000)) / 60
    handed = np.zeros(len(weights))
    handed[order] = np.cumsum(handling[order])
    arrives = reaches_customers + last_stretch * place + (handed - handling)
    done = reaches_customers + last_stretch + handling.sum()

    # Distance over time: along the stretches, then from stop to stop, with a wait at each.
    times = np.concatenate((stretch_hours, np.stack((arrives, arrives + handling), axis=1)[order].ravel(), [done]))
    stops = FIRST_CUSTOMER + (1 - FIRST_CUSTOMER) * place[order]
    along = np.concatenate((stretch_ends, np.repeat(stops, 2), [1.0]))
    intervals = draw.uniform(*REPORT_MINUTES, size=int(1.2 * done) + 1) / 60
    on_the_way = np.cumsum(intervals)
    report_hours = np.concatenate((on_the_way[on_the_way < done - 0.2], [done]))
    reported = np.round(report_hours * HOUR_MS).astype(np.int64)
    travelled = np.floor(np.interp(report_hours, times, along) * trip.distance).astype(np.int64)
    speed = np.round(_steps(travelled) * HOUR_MS / _steps(reported)).astype(np.int64)

    return Drive(
        delivered=np.round((arrives + handling) * HOUR_MS).astype(np.int64),
        chance_late=_chance_late(trip, usual_hours, place, handed),
        reported=reported,
        travelled=travelled,
        speed=speed,
        back=int((done + usual_hours) * HOUR_MS),
    )


def _steps(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The difference of each value to the one before, of the first to 0; np.diff takes three times as long."""
    steps = values.copy()
    steps[1:] -= values[:-1]
    return steps


def _usual_speed(trip: Circumstances) -> float:
    """The average speed in km/h, without random effects."""
    load = 1 - (1 - FULL) * min(1.0, trip.load / trip.capacity)
    speed = SPEEDS[trip.road_class] * BY_VEHICLE[trip.vehicle_type] * BY_WEATHER[trip.weather] * load
    speed *= (LIMITED if trip.limited else 1.0) * (DETOUR if trip.detour else 1.0)
    return min(speed, 0.9 * trip.max_speed)


def _stretches(
    trip: Circumstances, usual_hours: float, draw: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of the stretches up to the first customer: when they are reached, in hours, and where, 0 to 1."""
    luck, strikes, where, lost = draw.normal(0.0, LUCK_SIGMA), draw.random(), draw.random(), draw.random()
    hours = usual_hours * SHARES * np.exp(luck + draw.normal(0.0, 0.05, len(SHARES)))
    # Limited by the maximum speed of the vehicle.
    hours = np.maximum(hours, trip.distance / 10 * SHARES / (0.97 * trip.max_speed))
    if strikes < INCIDENT_SHARE:
        least, most = INCIDENT_MINUTES
        hours[int(where * len(hours))] += (least + (most - least) * lost) / 60
    return np.concatenate(([0.0], np.cumsum(hours))), STRETCHES


def _chance_late(
    trip: Circumstances, usual_hours: float, place: NDArray[np.float64], handed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The probability that an order is later than promised, without knowledge of later random effects."""
    expected = usual_hours * (FIRST_CUSTOMER + (1 - FIRST_CUSTOMER) * place) + handed
    spare = (trip.promised / HOUR_MS - expected) / (usual_hours * (LUCK_SIGMA + 0.01))
    # The logistic curve closest to the normal distribution.
    by_luck = 1 / (1 + np.exp(np.clip(1.702 * spare, -50, 50)))
    least, most = (minutes / 60 for minutes in INCIDENT_MINUTES)
    by_incident = np.clip((most - spare * usual_hours * (LUCK_SIGMA + 0.01)) / (most - least), 0, 1)
    chance: NDArray[np.float64] = (1 - INCIDENT_SHARE) * by_luck + INCIDENT_SHARE * np.maximum(by_luck, by_incident)
    return chance
