"""Real purchases of one shop, by the regions that examples/real_orders spreads its customers over."""

from __future__ import annotations

import csv
import gzip
from datetime import date, datetime
from pathlib import Path

import numpy as np
from ml_insights.forecasting.panel import Panel

FILE = Path(__file__).parents[2] / "examples" / "real_orders" / "cdnow_purchases.csv.gz"
REGIONS = ("WH-NORTH", "WH-SOUTH", "WH-EAST", "WH-WEST")
FIRST, DAYS = date(1997, 1, 1), 546


def read_panel() -> Panel:
    """Units by region and day. There is one product, whose price says nothing of discounts."""
    units = np.zeros((len(REGIONS), DAYS))
    with gzip.open(FILE, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            day = datetime.strptime(row["date"], "%Y%m%d").date()
            units[int(row["customer_id"]) % len(REGIONS), (day - FIRST).days] += int(row["quantity"])
    one = np.full(len(REGIONS), "P-CDNOW")
    return Panel(FIRST, np.array(REGIONS), one, one, units, np.full(units.shape, np.nan))
