"""Streams of random numbers by name.

The parts of a name arrive; a generator leaves that depends on them alone, on every machine and in every process.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def open_stream(*name: str | int) -> np.random.Generator:
    """The stream called `name`, at its beginning. Streams of different names are independent."""
    # Hashed as one text: SeedSequence would take (1, 2) and (1 + (2 << 32),) for the same words.
    digest = blake2b(repr(name).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
