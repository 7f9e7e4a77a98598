"""The rules, a module for each concern. A new one is a function here, and a mesh that breaks it in the tests."""

from mesh_platform.governance.rules import (  # noqa: F401
    change,
    conformance,
    dependence,
    documentation,
    files,
    freshness,
    level,
    naming,
    ownership,
    privacy,
)
