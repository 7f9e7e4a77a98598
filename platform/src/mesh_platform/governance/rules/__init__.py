"""The rules, a module for each concern. A new one is a function here, and a mesh that breaks it in the tests."""

from mesh_platform.governance.rules import (  # noqa: F401
    change,
    compose,
    conformance,
    dependence,
    documentation,
    files,
    freshness,
    generated_files,
    level,
    naming,
    ownership,
    privacy,
)
