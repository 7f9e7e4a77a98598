"""The facts about a warehouse that the world needs, and the region in its name."""

from __future__ import annotations

from typing import Protocol


class Site(Protocol):
    """The site of one warehouse."""

    @property
    def warehouse_id(self) -> str:
        """Its id in reference data and events."""
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
    """The region of a domain: `north` for `north_warehouse`; the name itself without such an ending."""
    return domain.removesuffix("_warehouse")
