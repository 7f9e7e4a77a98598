"""The tests of this domain."""

from mesh_platform.testing import DomainSuite


class TestDomain(DomainSuite):
    """What every domain promises, and this domain's own cases in tests/cases/*.yaml."""
