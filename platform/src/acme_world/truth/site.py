"""The little that the world must know of a warehouse, and what its name says of its region."""

from __future__ import annotations

from typing import Protocol


class Site(Protocol):
    """One warehouse's place."""

    @property
    def warehouse_id(self) -> str:
        """As reference data and events name it."""
        ...

    @property
    def time_zone(self) -> str:
        """An IANA name."""
        ...

    @property
    def currency(self) -> str:
        """An ISO 4217 code."""
        ...


def region_of(domain: str) -> str:
    """`north` for `north_warehouse`; the name itself where it has no such ending."""
    return domain.removesuffix("_warehouse")
