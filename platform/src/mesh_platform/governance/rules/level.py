"""Rules of levels: a product claims how reliable it is, and the claim is verified.

The table below has the requirements of each level; a level includes those of the lower ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mesh_platform.contract.contract import LEVELS, Contract
from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope
from mesh_platform.sql.model import upstream

_Asks = Mapping[str, Callable[[Scope, Contract], bool]]


def _has_case(scope: Scope, contract: Contract) -> bool:
    domain = scope.mesh.domains[contract.domain]
    cases = domain.folder / "tests" / "cases" / f"{contract.table.name}.yaml"
    return domain.product_kind(contract) == "reference" or cases.is_file()


def _blocks(_: Scope, contract: Contract) -> bool:
    of_rules = any(rule.on_failure != "warn" for rule in contract.table.rules)
    return of_rules or any(
        field.valid_values
        or field.pattern
        or field.minimum is not None
        or field.maximum is not None
        or field.references
        for field in contract.table.fields
    )


def _is_role_for_pii(_: Scope, contract: Contract) -> bool:
    return bool(contract.roles) or all(field.classification != "pii" for field in contract.table.fields)


def _rests_on_silver(scope: Scope, contract: Contract) -> bool:
    inputs = upstream(scope.mesh, scope.models, contract.identifier)
    return all(LEVELS.index(scope.mesh.contracts[name].level) >= 1 for name in inputs)


ASKS: Mapping[str, _Asks] = {
    # The other rules have the requirements for every product.
    "bronze": {},
    "silver": {
        "has a primary key": lambda _, contract: bool(contract.table.key),
        "promises freshness or latency": lambda _, contract: bool(contract.freshness or contract.latency),
        "has a test case of its SQL, in tests/cases/<product>.yaml": _has_case,
        "has a role for its personal data": _is_role_for_pii,
    },
    "gold": {
        "is of version 1.0.0 or later": lambda _, contract: not contract.version.startswith("0."),
        "keeps rows out by bounds, valid values, references, or a rule that blocks or quarantines": _blocks,
        "rests on products of level silver or gold": _rests_on_silver,
    },
}


@rule()
def level(scope: Scope) -> Iterable[Problem]:
    """A product reaches the level that it claims: bronze, silver or gold (`mesh.level`; bronze is the lowest).

    - bronze: what all other rules require.
    - silver: also a primary key, a promise of freshness or latency, a test case of its SQL, and a role for its
      personal data where it has some.
    - gold: also version 1.0.0 or later, something that keeps bad rows out, and inputs of silver or gold.
    """
    for contract in scope.mesh.contracts.values():
        for name in LEVELS[: LEVELS.index(contract.level) + 1]:
            for asked, holds in ASKS[name].items():
                if not holds(scope, contract):
                    below = LEVELS[LEVELS.index(name) - 1]
                    message = f"claims level {contract.level}; {name} asks that it {asked}."
                    yield Problem(contract.path, 1, message, f"Do so, or claim {below}.")


@rule()
def level_demanded(scope: Scope) -> Iterable[Problem]:
    """The inputs of a product from other domains have at least the level that it demands (`mesh.demands`)."""
    for contract in scope.mesh.contracts.values():
        if contract.demands is None:
            continue
        for name in upstream(scope.mesh, scope.models, contract.identifier):
            read = scope.mesh.contracts[name]
            if read.domain != contract.domain and LEVELS.index(read.level) < LEVELS.index(contract.demands):
                message = f"demands level {contract.demands}, and reads {name}, which is {read.level}."
                yield Problem(contract.path, 1, message, f"Ask its owner to raise it, or demand {read.level}.")
