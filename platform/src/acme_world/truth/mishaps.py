"""Mishaps in a warehouse: failed orders, failed systems, missing goods.

They are drawn for a day, as columns of errors and changes of the shelf.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.attempts import Attempts
from acme_world.truth.clock import DAY_MS, HOUR_MS, MINUTE_MS
from acme_world.truth.goods import Goods

OUT_OF_STOCK = "E-101"
# The share of orders that fail completely, and the errors for them.
FAILED_ORDERS = (
    ("E-201", 0.008, "the bank declined the payment"),
    ("E-202", 0.003, "no answer from the bank within 30 s"),
    ("E-301", 0.003, "no such street at this postal code"),
)
SYSTEM_ERRORS = (
    ("E-401", "order service gave no answer within 10 s"),
    ("E-402", "scanner lost its connection"),
    ("E-403", "label printer reports a paper jam"),
)
SYSTEM_ERRORS_A_DAY, BURST_SHARE, ERRORS_A_BURST = 1.2, 0.12, 9
COUNTS_A_DAY, MOST_MISCOUNTED = 4, 3
DAMAGES_A_DAY, MOST_DAMAGED = 2, 2

Columns = dict[str, NDArray[Any]]


def fail_orders(attempts: Attempts, draw: np.random.Generator) -> tuple[NDArray[np.bool_], Columns]:
    """Which orders fail completely, and their errors, seconds after the order."""
    count = len(attempts.order_id)
    upto = np.cumsum([share for _, share, _ in FAILED_ORDERS])
    which = np.searchsorted(upto, draw.random(count), side="right")
    failed = which < len(FAILED_ORDERS)
    codes, messages = (np.array([each[part] for each in FAILED_ORDERS]) for part in (0, 2))
    delay = draw.integers(500, 60_000, count)[failed]
    return failed, errors(
        attempts.placed_at[failed] + delay,
        codes[which[failed]],
        messages[which[failed]],
        order_id=attempts.order_id[failed],
    )


def miss_stock(
    attempts: Attempts, goods: Goods, lines: NDArray[np.int64], left: NDArray[np.int64], draw: np.random.Generator
) -> Columns:
    """An error for each of `lines` for which only `left` units were free on the shelf."""
    of = attempts.order[lines]
    wanted = attempts.quantity[lines]
    return errors(
        attempts.placed_at[of] + draw.integers(200, 3_000, len(lines)),
        np.full(len(lines), OUT_OF_STOCK),
        np.array(
            [f"{free} left of {asked} ordered" for free, asked in zip(left.tolist(), wanted.tolist(), strict=True)],
            dtype=np.str_,
        ),
        order_id=attempts.order_id[of],
        line_number=attempts.line_number[lines],
        product_id=goods.product_id[attempts.product[lines]],
        quantity=wanted,
    )


def fail_systems(midnight: int, draw: np.random.Generator) -> Columns:
    """System errors on the UTC day that begins at `midnight`; on some days many at once."""
    at = midnight + draw.integers(1, DAY_MS, draw.poisson(SYSTEM_ERRORS_A_DAY))
    which = draw.integers(0, len(SYSTEM_ERRORS), len(at))
    if draw.random() < BURST_SHARE:
        begin = midnight + draw.integers(1, DAY_MS - 2 * HOUR_MS)
        burst = begin + draw.integers(0, 2 * HOUR_MS, draw.poisson(ERRORS_A_BURST))
        at = np.concatenate([at, burst])
        which = np.concatenate([which, np.full(len(burst), draw.integers(0, len(SYSTEM_ERRORS)))])
    return system_errors(at, which)


def system_errors(at: NDArray[np.int64], which: NDArray[np.int64]) -> Columns:
    """Errors without an order; `which` has indices in SYSTEM_ERRORS."""
    codes, messages = (np.array([each[part] for each in SYSTEM_ERRORS]) for part in (0, 1))
    return errors(at, codes[which], messages[which])


def errors(
    at: NDArray[np.int64], error_code: NDArray[np.str_], message: NDArray[np.str_], **known: NDArray[Any]
) -> Columns:
    """Columns of order errors; order, line, product and quantity are null where they are not in `known`."""
    count = len(at)
    text = dict.fromkeys(("order_id", "product_id"), np.full(count, "", np.str_))
    whole = dict.fromkeys(("line_number", "quantity"), np.full(count, -1, np.int64))
    return {"at": at, "error_code": error_code, "message": message.astype(np.str_), **text, **whole, **known}


def find_differences(
    midnight: int, stocked: NDArray[np.bool_], draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    """Stock differences and breakage on the UTC day that begins at `midnight`.

    Returns when, which of the `stocked` goods, how many additional units, and why.
    """
    counts, damages = draw.poisson(COUNTS_A_DAY), draw.poisson(DAMAGES_A_DAY)
    total = counts + damages
    at = midnight + draw.integers(1, DAY_MS, total)
    candidates = np.flatnonzero(stocked) if stocked.any() else np.arange(len(stocked))
    product = candidates[draw.integers(0, len(candidates), total)]
    miscounted = draw.integers(1, MOST_MISCOUNTED + 1, counts) * np.where(draw.random(counts) < 0.4, 1, -1)
    broken = -draw.integers(1, MOST_DAMAGED + 1, damages)
    reason = np.array(["cycle_count"] * counts + ["damage"] * damages, dtype=np.str_)
    return at, product, np.concatenate([miscounted, broken]).astype(np.int64), reason


def pick_delays(count: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Random delays from an order to the picking of a line, in ms: 5 to 90 minutes, mostly short."""
    return (5 * MINUTE_MS + draw.beta(1.6, 4.0, count) * 85 * MINUTE_MS).astype(np.int64)
