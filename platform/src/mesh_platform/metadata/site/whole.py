"""What the pages of a site say of all products at once: a little of each product, and which relations read which."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

from mesh_platform.contract.contract import Contract, TableSchema
from mesh_platform.errors import Problem
from mesh_platform.lake.tables import SUFFIXES, TableKind, split_name
from mesh_platform.mesh.mesh import interface_view
from mesh_platform.metadata.columns import CHART, Columns
from mesh_platform.metadata.graph import Graph
from mesh_platform.metadata.pipelines import pipelines_of
from mesh_platform.metadata.site.drawing import neighbours
from mesh_platform.metadata.site.paths import page
from mesh_platform.sql.health_schemas import HEALTH_SCHEMAS
from mesh_platform.sql.references import RESOLVED
from mesh_platform.sql.relations import SITES

# A mesh with more products is large: its pages say less, and the drawing has the nearest relations only.
MANY = 500
_DRAWN, _DRAWN_OF_MANY = 30, 2
_OF_THE_MESH = (SITES, *HEALTH_SCHEMAS)
# Tables that no drawing has.
_PRIVATE: tuple[TableKind, ...] = ("quarantine", "ledger", "held")
# The ends of the names of relations that belong to a product, besides its own.
OWN_SUFFIXES = (*filter(None, SUFFIXES.values()), RESOLVED)


class Outline(NamedTuple):
    """What pages of other things say of a product.

    `terms` are (term, column, description of the column); `dags` the kinds of DAGs with a task for it. `shape` is
    a hash of all that the lineage of relations that read the product, and their references to it, can depend on.
    """

    name: str
    domain: str
    description: str
    level: str
    implements: str | None
    columns: tuple[str, ...]
    personal: tuple[str, ...]
    terms: tuple[tuple[str, str, str], ...]
    dags: tuple[str, ...]
    is_sent: bool
    shape: bytes

    @property
    def frame(self) -> object:
        """What decides which relations there are, besides its SQL and its references."""
        return self.name, self.domain, self.implements, self.is_sent


class Shown(NamedTuple):
    """The columns of a relation that a chart shows, and the others, which only decide on its rows."""

    columns: tuple[str, ...]
    rows_by: tuple[str, ...]


@dataclass(frozen=True)
class Whole:
    """All products in the order of the mesh, the `inputs` of each relation, and why products have no lineage.

    `views` are the unions of interfaces, each with its interface. `shown` has what each chart reads, by its relation.
    """

    products: Mapping[str, Outline]
    inputs: Mapping[str, tuple[str, ...]]
    problems: Mapping[str, Problem]
    views: Mapping[str, str]
    shown: Mapping[str, Mapping[str, Shown]]

    @property
    def is_large(self) -> bool:
        """Whether there are so many products that pages must say less."""
        return len(self.products) > MANY

    @cached_property
    def readers(self) -> Mapping[str, Sequence[str]]:
        """The relations that are computed from each relation."""
        found: dict[str, list[str]] = {}
        for name, sources in self.inputs.items():
            for source in sources:
                found.setdefault(source, []).append(name)
        return found

    @cached_property
    def of_domain(self) -> Mapping[str, Sequence[Outline]]:
        """The products of each domain that has some."""
        found: dict[str, list[Outline]] = {}
        for product in self.products.values():
            found.setdefault(product.domain, []).append(product)
        return found

    @cached_property
    def uses(self) -> Mapping[str, Sequence[tuple[str, str, str]]]:
        """The columns that mean each term: (product, column, description)."""
        found: dict[str, list[tuple[str, str, str]]] = {}
        for name, product in self.products.items():
            for term, column, description in product.terms:
                found.setdefault(term, []).append((name, column, description))
        return found

    def owner(self, relation: str) -> str | None:
        """Return the product that a relation belongs to, retired or not; None for all that belongs to none."""
        if relation in self.views or relation in _OF_THE_MESH or relation.startswith(("file:", CHART)):
            return None
        return split_name(relation.removeprefix("queue:").removesuffix(RESOLVED))[0]

    def place(self, relation: str) -> str | None:
        """Return the page that describes a relation."""
        if relation in self.views:
            return page("interface", self.views[relation])
        if relation.startswith(CHART):
            return page("dashboard", relation.removeprefix(CHART).rpartition(".")[0])
        product = self.owner(relation)
        return page("product", product) if product and product in self.products else None

    def up(self, relation: str) -> tuple[list[tuple[str, str]], int]:
        """Return the edges to the relations that one is computed from, as a drawing has them, and the cuts."""
        return neighbours(relation, lambda name: self.inputs.get(name, ()), self._drawn)

    def down(self, relation: str) -> tuple[list[tuple[str, str]], int]:
        """Return the edges to the relations that are computed from one, as a drawing has them, and the cuts."""
        return neighbours(relation, self._shown_readers, self._drawn)

    def _shown_readers(self, name: str) -> Sequence[str]:
        near = self.readers.get(name, ())
        # A page lists charts: there can be many.
        return [other for other in near if split_name(other)[1] not in _PRIVATE and not other.startswith(CHART)]

    @property
    def _drawn(self) -> int:
        return _DRAWN_OF_MANY if self.is_large else _DRAWN


def whole_of(graph: Graph) -> Whole:
    """Return what all pages share, of the graph of a whole mesh."""
    columns = graph.columns
    mesh = columns.mesh
    columns.trace(columns.relations)
    return Whole(
        {name: outline(contract, columns.models) for name, contract in mesh.contracts.items()},
        {name: relation.inputs for name, relation in columns.relations.items()},
        columns.problems,
        {interface_view(each.domain, name): name for name, each in mesh.interfaces.items()},
        {name: shown_by(columns, name) for name in columns.relations if name.startswith(CHART)},
    )


def shown_by(columns: Columns, chart: str) -> dict[str, Shown]:
    """Return what a chart shows of each relation that it reads."""
    edges = [*columns.edges(chart)]
    found = {}
    for source in columns.inputs(chart):
        read = {edge.source_column for edge in edges if edge.source == source}
        shown = {edge.source_column for edge in edges if edge.source == source and edge.target_column is not None}
        found[source] = Shown(tuple(sorted(shown)), tuple(sorted(read - shown)))
    return found


def outline(contract: Contract, models: Collection[str]) -> Outline:
    """Return what others say of a product; `models` are the products that SQL builds."""
    fields = contract.table.fields
    return Outline(
        contract.identifier,
        contract.domain,
        contract.description,
        contract.level,
        contract.implements,
        tuple(field.name for field in fields),
        tuple(field.name for field in fields if field.classification == "pii"),
        tuple((field.term, field.name, field.description) for field in fields if field.term),
        tuple(kind for kind, products in pipelines_of([contract], models).items() if products),
        contract.event is not None,
        blake2b(repr([*_shape(contract)]).encode(), digest_size=8).digest(),
    )


def _shape(contract: Contract) -> Iterator[object]:
    schemas: list[TableSchema | None] = [contract.table, contract.event]
    for schema in schemas:
        if schema is not None:
            yield schema.key, schema.history, [(each.name, each.type.name) for each in schema.fields]
