"""Named streams of random numbers, which depend on the name alone, on every machine and in every process."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def open_stream(*name: str | int) -> np.random.Generator:
    """The stream with this name, at its beginning. Streams of different names are independent."""
    # Hashed as one text, because SeedSequence does not distinguish (1, 2) and (1 + (2 << 32),).
    digest = blake2b(repr(name).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
