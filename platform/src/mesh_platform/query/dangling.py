"""Find dangling references: values of a fact's columns that are not a key of the dimension they point to.

A session shows states that never change, so its views can list the few values that a dimension lacks. A query then
compares a column with that list, instead of looking each row up in each dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mesh_platform.contract.contract import Contract
from mesh_platform.engine.sql import quoted
from mesh_platform.query.as_of import State
from mesh_platform.query.state_cache import StateCache
from mesh_platform.sql.references import references, target

if TYPE_CHECKING:
    from mesh_platform.engine.protocol import Connection

# Fewer rows are looked up faster than dangling references are found.
LARGE = 500_000
# Comparing a value with more than these takes longer than looking it up.
_MOST = 20


def find_dangling(
    connection: Connection, contract: Contract, states: Mapping[str, State], cache: StateCache
) -> dict[str, list[str]]:
    """Return the values that dimensions lack, by the name of the text column of a large table that has them.

    A column with many such values is left out, as are the columns of small tables and of states without rows.
    """
    fact = states[contract.identifier]
    there = {field.name for field, column in fact.columns if column}
    found: dict[str, list[str]] = {}
    for field in references(contract):
        name, key = target(field)
        dimension = states[name]
        if field.type.name != "string" or field.name not in there or fact.rows < LARGE or not dimension.rows:
            continue
        column = quoted(field.name)
        query = (
            f"SELECT {column} FROM (SELECT DISTINCT {column} FROM ({fact.select({})})) WHERE {column} NOT IN "
            f"(SELECT {quoted(key)} FROM ({dimension.select({})}) WHERE {quoted(key)} IS NOT NULL) LIMIT {_MOST + 1}"
        )

        def read(query: str = query) -> list[str]:
            return sorted(row[0] for row in connection.execute(query).fetchall())

        dangling = cache.get(f"dangling {contract.identifier}.{field.name}", [query], read)
        if len(dangling) <= _MOST:
            found[field.name] = dangling
    return found
