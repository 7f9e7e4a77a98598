"""The test suite that every domain inherits: it fails where a domain breaks what its files promise.

A domain's tests/test_domain.py derives one class from `DomainSuite`, which finds everything else from the path of
that file. A test without a subject, such as the sample of a domain without events, is not collected.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from mesh_platform.broker import Delivery, connect
from mesh_platform.build.build import build
from mesh_platform.contract.contract import LANDING_COLUMNS, Contract, TableSchema
from mesh_platform.engine.duckdb import DuckDBError
from mesh_platform.engine.duckdb import connect as connect_duckdb
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import literal, quoted
from mesh_platform.errors import ContractError, Problem
from mesh_platform.events.event import Event, Record
from mesh_platform.events.producer import batch, find_producer, name_sender, publish, read_csv, sites_of, wrap
from mesh_platform.ingest.ingest import ingest
from mesh_platform.ingest.validator import validate
from mesh_platform.lake.catalog import find_table, open_catalog
from mesh_platform.lake.tables import landing_name, quarantine_name
from mesh_platform.mesh.mesh import Domain, Mesh, load_mesh
from mesh_platform.query.session import open_session
from mesh_platform.settings import Settings, find_root
from mesh_platform.sql.model import read_models
from mesh_platform.sql.model_case import Case, read_cases, run_case
from mesh_platform.sql.relations import tables_behind
from mesh_platform.sql.type_check import check_types

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

SEED, START = 1, date(2025, 10, 1)
DRAWN, BURST = 50, 60


# The class of each domain reads the same files when it is created.
_load_mesh = cache(load_mesh)


class DomainSuite:
    """The tests of one domain. `product` runs over its contracts, `sent` over the contracts with an event."""

    mesh: ClassVar[Mesh]
    domain: ClassVar[Domain]
    subjects: ClassVar[dict[str, list[Any]]]
    faults: ClassVar[list[Problem]]

    def __init_subclass__(cls) -> None:
        file = sys.modules[cls.__module__].__file__
        assert file is not None
        cls._read_subjects(Path(file).parents[1])
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            needed = inspect.signature(method).parameters.keys() & cls.subjects.keys()
            if name.startswith("test_") and any(not cls.subjects[subject] for subject in needed):
                setattr(cls, name, None)

    @classmethod
    def _read_subjects(cls, folder: Path) -> None:
        root = find_root(folder)
        cls.subjects = {"product": [], "sent": [], "case": [], "table": [], "domain": []}
        try:
            cls.mesh = _load_mesh(root)
            cls.domain = cls.mesh.domain(folder.name)
            cls.faults = []
            files = sorted((folder / "tests" / "cases").glob("*.yaml"))
            cases = [case for path in files for case in read_cases(path, root)]
        except ContractError as error:
            # Collection continues, so that one test reports the faults and the other domains are still tested.
            cls.faults = error.problems
            return
        products = list(cls.domain.contracts.values())
        cls.subjects["product"] = products
        cls.subjects["sent"] = [contract for contract in products if contract.event]
        cls.subjects["table"] = [c for c in products if cls.domain.product_kind(c) == "model"]
        cls.subjects["case"] = cases
        cls.subjects["domain"] = [cls.domain] if products else []

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize a test with its subjects."""
        for subject, values in self.subjects.items():
            if subject in metafunc.fixturenames:
                metafunc.parametrize(subject, values, ids=[value.name for value in values])

    def test_files_are_valid(self) -> None:
        """The files of the domain are valid and fit the mesh."""
        assert not self.faults, str(ContractError(self.faults))

    def test_examples_fit_their_columns(self, product: Contract) -> None:
        """Validation accepts the examples in a contract as values of their columns."""
        for schema in (product.table, *([product.event] if product.event else [])):
            refused = _send_examples(product, schema)
            assert not refused, "\n".join(refused)

    def test_producer_sends_valid_events(self, sent: Contract) -> None:
        """Each event has a producer script, whose source returns valid events with stable ids."""
        events = list(islice(self._draw(sent), DRAWN))
        assert len(events) == DRAWN
        refused = _refused(sent, events)
        assert not refused, "\n".join(refused)
        again = [event.event_id for event in islice(self._draw(sent), DRAWN)]
        assert [event.event_id for event in events] == again
        assert len(set(again)) == DRAWN

    def test_sample_is_valid(self, sent: Contract) -> None:
        """The sample file of the producer replays without a malformed line or a rejected event."""
        malformed: list[Problem] = []
        events = list(self._sample(sent, malformed.append))
        assert events
        problems = [*map(str, malformed), *_refused(sent, events)]
        assert not problems, "\n".join(problems)

    def test_sql_fits_its_contract(self, table: Contract, sql_problems: list[Problem]) -> None:
        """A model parses, reads only tables that exist, and returns the columns that its contract promises."""
        path = str(self.domain.model_path(table).relative_to(self.mesh.root))
        problems = [str(problem) for problem in sql_problems if problem.path == path]
        assert not problems, "\n".join(problems)

    @pytest.fixture(scope="class")
    @classmethod
    def sql_problems(cls) -> list[Problem]:
        """Everything wrong with the SQL of the domain."""
        return check_types(cls.mesh, [contract.identifier for contract in cls.domain.contracts.values()])

    def test_case(self, case: Case) -> None:
        """A case of tests/cases/*.yaml passes."""
        difference = run_case(self.mesh, case)
        assert difference is None, difference

    def test_end_to_end(self, domain: Domain, lake: _Lake) -> None:
        """The events of all producers that feed the domain reach its tables exactly once, even if sent twice."""
        ids = {contract: {event.event_id for event in sent} for contract, sent in lake.events.items()}
        first = lake.counts()
        for contract, wanted in ids.items():
            assert lake.ids(landing_name(contract)) == sorted(wanted), landing_name(contract)
            assert lake.rows(quarantine_name(contract)) == 0, quarantine_name(contract)
            if contract.identifier in first and contract.table.key == ("event_id",):
                assert lake.ids(contract.identifier) == sorted(wanted), contract.identifier
        lake.take_in()
        assert lake.counts() == first
        assert {contract: lake.rows(landing_name(contract)) for contract in ids} == {c: len(ids[c]) for c in ids}

    @pytest.fixture(scope="class")
    @classmethod
    def lake(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Lake]:
        """A lake that has taken in, once, the samples and some more events of the producers that feed the domain."""
        feeding = _feeding(cls.mesh, cls.domain)
        events = {contract: [*cls._sample(contract), *islice(cls._draw(contract), BURST)] for contract in feeding}
        with pytest.MonkeyPatch.context() as monkeypatch:
            settings = _own_settings(cls.mesh, tmp_path_factory.mktemp("lake"), monkeypatch)
            lake = _Lake(cls.mesh, cls.domain, settings, events)
            lake.take_in()
            yield lake

    def test_view_has_rows(self, product: Contract, views: Connection) -> None:
        """The table of the product exists, and its view has rows.

        The views come from the file that DUCKDB_PATH names (see `mesh views`), else from a lake with the sample
        files and more events of the producers.
        """
        try:
            found = views.execute(f"SELECT 1 FROM {quoted(product.identifier)} LIMIT 1").fetchone()
        except DuckDBError as error:
            pytest.fail(f"{product.identifier} has no view, or its table is missing: {error}")
        assert found is not None, f"{product.identifier} has no rows"

    @pytest.fixture(scope="class")
    @classmethod
    def views(cls, request: pytest.FixtureRequest) -> Iterator[Connection]:
        """A DuckDB session with the domain's views."""
        path = os.environ.get("DUCKDB_PATH")
        if path:
            assert Path(path).is_file(), f"DUCKDB_PATH={path}: no such file. Write it with 'mesh views {path}'."
            with connect_duckdb({}) as session:
                session.execute(f"ATTACH {literal(str(Path(path).resolve()))} AS views (READ_ONLY)")
                session.execute("USE views")
                yield session
            return
        lake: _Lake = request.getfixturevalue("lake")
        with open_session(cls.mesh, lake.catalog) as session:
            yield session

    @classmethod
    def _draw(cls, contract: Contract) -> Iterator[Event]:
        source = find_producer(cls.mesh, contract).source
        records = source.records(contract.domain, sites_of(cls.mesh), root=cls.mesh.root, seed=SEED, start=START)
        return wrap(contract, records, name_sender(source, contract))

    @classmethod
    def _sample(cls, contract: Contract, report: Callable[[Problem], None] = lambda _: None) -> Iterator[Event]:
        domain = cls.mesh.domains[contract.domain]
        path = domain.folder / "producers" / f"{contract.name}.csv"
        return wrap(contract, read_csv(contract, domain, path, report), f"produce_{contract.name}")


@dataclass(frozen=True)
class _Lake:
    """A broker and a catalog for the tests of one domain, and the events that they take."""

    mesh: Mesh
    domain: Domain
    settings: Settings
    events: Mapping[Contract, Sequence[Event]]

    @cached_property
    def catalog(self) -> Catalog:
        return open_catalog(self.settings)

    def take_in(self) -> None:
        """Publish all events, ingest them, and build the domain."""
        now = _newest(self.events.values())
        with connect(self.settings.broker) as broker:
            for contract, sent in self.events.items():
                publish(broker, contract, batch((event.to_json() for event in sent), size=50))
            ingest(self.catalog, broker, list(self.events), lambda: now, until_empty=True)
        build(self.mesh, self.catalog, [contract.identifier for contract in self.domain.contracts.values()])

    def counts(self) -> dict[str, int]:
        """The number of rows of each table of the domain."""
        return {c.identifier: self.rows(c.identifier) for c in self.domain.contracts.values()}

    def ids(self, table: str) -> list[str]:
        found = find_table(self.catalog, table)
        assert found is not None, f"{table} is not there"
        return sorted(found.scan(selected_fields=("event_id",)).to_arrow()["event_id"].to_pylist())

    def rows(self, table: str) -> int:
        found = find_table(self.catalog, table)
        assert found is not None, f"{table} is not there"
        return found.scan().count()


def _own_settings(mesh: Mesh, state: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a state folder of their own, independent of the catalog and broker in the environment."""
    for name in [*os.environ]:
        if name.startswith(("PYICEBERG_CATALOG__MESH__", "MESH_")):
            monkeypatch.delenv(name)
    return Settings(root=mesh.root, state=state)


def _feeding(mesh: Mesh, domain: Domain) -> list[Contract]:
    """The products with an event from which the domain's tables are built, directly or through other models."""
    landing = {landing_name(contract): contract for contract in mesh.ingested()}
    models = read_models(mesh)
    waiting = [contract.identifier for contract in domain.contracts.values()]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            inputs = models[name].inputs if name in models else ()
            waiting += [table for relation in inputs for table in tables_behind(mesh, relation)]
    return [contract for name, contract in landing.items() if name in seen]


def _send_examples(contract: Contract, schema: TableSchema) -> list[str]:
    """Validate events made of the first, second, ... examples of the columns of `schema`; return the rejections."""
    own = [field for field in schema.fields if field.name not in LANDING_COLUMNS]
    # A column without an example is optional here, even if the contract requires it.
    fields = tuple(replace(field, required=field.required and bool(field.examples)) for field in own)
    probe = replace(
        contract, event=replace(schema, fields=fields, partition=()), retention=timedelta(days=365 * 1000)
    )
    time = datetime(2025, 10, 1, tzinfo=UTC)
    records = [
        Record(time, {f.name: _on_wire(f.examples[number % len(f.examples)]) for f in fields if f.examples})
        for number in range(max((len(field.examples) for field in fields), default=0))
    ]
    return _refused(probe, list(wrap(probe, records, "examples")))


def _on_wire(example: Any) -> Any:
    # YAML parses unquoted dates, which JSON sends as strings; all other examples are already in their wire form.
    return example.isoformat() if isinstance(example, date) else example


def _refused(contract: Contract, events: Sequence[Event]) -> list[str]:
    """The reason for each event that validation rejects."""
    bodies = [message.body for message in batch((event.to_json() for event in events), size=100)]
    deliveries = [Delivery(body, None, tag, redelivered=False) for tag, body in enumerate(bodies)]
    rejected = validate(contract, deliveries, _newest([events])).rejected.to_pylist()
    return [f"{contract.path}: {row['reason']} {row['field'] or ''}: {row['detail']}" for row in rejected]


def _newest(events: Iterable[Sequence[Event]]) -> datetime:
    """The latest time of all events. As the current time, it keeps retention from rejecting old samples."""
    return max((event.event_time for some in events for event in some), default=datetime(2025, 10, 1, tzinfo=UTC))
