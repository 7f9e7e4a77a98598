"""One vehicle's way along one route: how fast it gets on, what it reports, when each order is handed over.

A trip's circumstances arrive; times, distances and speeds leave. Distances are tenths of a km, times ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import HOUR_MS

# What is reached on the whole, in km/h, by a van with little aboard in clear weather; the rest are factors to it.
SPEEDS = {"highway": 84.0, "regional": 62.0, "urban": 31.0}
BY_VEHICLE = {"van": 1.0, "electric_van": 0.95, "truck": 0.90, "semi": 0.82}
BY_WEATHER = {"clear": 1.0, "rain": 0.90, "snow": 0.74, "fog": 0.85}
LIMITED, DETOUR, FULL = 0.87, 0.94, 0.85
LUCK_SIGMA = 0.06
INCIDENT_SHARE, INCIDENT_MINUTES = 0.04, (25.0, 120.0)
# The customers of a route live along its last stretch.
FIRST_CUSTOMER = 0.88
# Handing an order over: some minutes, and more for a heavy one, if not in proportion.
STOP_MINUTES, HEAVY_MINUTES = 1.0, 1.1
REPORT_MINUTES = (50.0, 70.0)
STRETCHES = np.array([0.0, 0.22, 0.44, 0.66, FIRST_CUSTOMER])


@dataclass(frozen=True)
class Circumstances:
    """All that the speed of a trip depends on. `load` and `capacity` are in grams, `promised` in ms."""

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
    """What came of a trip; all times in ms since it departed.

    `delivered` and `chance_late` have an entry for each order. Of the reports on the way and the last one, at the
    end, `reported` has the times, `travelled` the distances since departure and `speed` tenths of km/h since the
    report before. `back` is when the vehicle is home again.
    """

    delivered: NDArray[np.int64]
    chance_late: NDArray[np.float64]
    reported: NDArray[np.int64]
    travelled: NDArray[np.int64]
    speed: NDArray[np.int64]
    back: int


def drive(trip: Circumstances, weights: NDArray[np.int64], draw: np.random.Generator) -> Drive:
    """Drive once, with orders of `weights` grams, each for a customer of its own."""
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

    # Distance over time: along the stretches, then from stop to stop, standing at each.
    times = np.concatenate((stretch_hours, np.stack((arrives, arrives + handling), axis=1)[order].ravel(), [done]))
    stops = FIRST_CUSTOMER + (1 - FIRST_CUSTOMER) * place[order]
    along = np.concatenate((stretch_ends, np.repeat(stops, 2), [1.0]))
    intervals = draw.uniform(*REPORT_MINUTES, size=int(1.2 * done) + 1) / 60
    on_the_way = np.cumsum(intervals)
    report_hours = np.concatenate((on_the_way[on_the_way < done - 0.2], [done]))
    reported = np.round(report_hours * HOUR_MS).astype(np.int64)
    travelled = np.floor(np.interp(report_hours, times, along) * trip.distance).astype(np.int64)
    gone = np.diff(travelled, prepend=0)
    speed = np.round(gone * HOUR_MS / np.diff(reported, prepend=0)).astype(np.int64)

    return Drive(
        delivered=np.round((arrives + handling) * HOUR_MS).astype(np.int64),
        chance_late=_chance_late(trip, usual_hours, place, handed),
        reported=reported,
        travelled=travelled,
        speed=speed,
        back=int((done + usual_hours) * HOUR_MS),
    )


def _usual_speed(trip: Circumstances) -> float:
    """km/h on the whole, without luck."""
    load = 1 - (1 - FULL) * min(1.0, trip.load / trip.capacity)
    speed = SPEEDS[trip.road_class] * BY_VEHICLE[trip.vehicle_type] * BY_WEATHER[trip.weather] * load
    speed *= (LIMITED if trip.limited else 1.0) * (DETOUR if trip.detour else 1.0)
    return min(speed, 0.9 * trip.max_speed)


def _stretches(
    trip: Circumstances, usual_hours: float, draw: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When the ends of the stretches up to the first customer are reached, in hours, and where they lie, 0 to 1."""
    luck, strikes, where, lost = draw.normal(0.0, LUCK_SIGMA), draw.random(), draw.random(), draw.random()
    shares = np.diff(STRETCHES)
    hours = usual_hours * shares * np.exp(luck + draw.normal(0.0, 0.05, len(shares)))
    # No stretch is driven faster than the vehicle can.
    hours = np.maximum(hours, trip.distance / 10 * shares / (0.97 * trip.max_speed))
    if strikes < INCIDENT_SHARE:
        least, most = INCIDENT_MINUTES
        hours[int(where * len(hours))] += (least + (most - least) * lost) / 60
    return np.concatenate(([0.0], np.cumsum(hours))), STRETCHES


def _chance_late(
    trip: Circumstances, usual_hours: float, place: NDArray[np.float64], handed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The chance that an order comes after what is promised, without knowledge of luck to come."""
    expected = usual_hours * (FIRST_CUSTOMER + (1 - FIRST_CUSTOMER) * place) + handed
    spare = (trip.promised / HOUR_MS - expected) / (usual_hours * (LUCK_SIGMA + 0.01))
    # The logistic curve that comes next to the normal distribution.
    by_luck = 1 / (1 + np.exp(np.clip(1.702 * spare, -50, 50)))
    least, most = (minutes / 60 for minutes in INCIDENT_MINUTES)
    by_incident = np.clip((most - spare * usual_hours * (LUCK_SIGMA + 0.01)) / (most - least), 0, 1)
    chance: NDArray[np.float64] = (1 - INCIDENT_SHARE) * by_luck + INCIDENT_SHARE * np.maximum(by_luck, by_incident)
    return chance
