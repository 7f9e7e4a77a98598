"""The record of trainings: what each model was trained on and with, how it did, and its file.

`mesh.trainings` has one row for each training. The snapshots of its inputs are tagged with its name (t1, t2, ...),
which keeps them from expiring. The model is a file beside the table, called by the SHA-256 of its content.
Maintenance removes the tags and files of models that have not been in use for KEPT; the rows stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.io.pyarrow import PyArrowFileIO

from mesh_platform.contract.contract import TableSchema
from mesh_platform.contract.contract import platform_column as _column
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.durable_io import replace_file
from mesh_platform.iceberg.orphan_files import files_in, remove_file
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.lake.catalog import (
    arrow_schema,
    checked_table,
    ensure_table,
    existing_table,
    find_table,
    find_tables,
)
from mesh_platform.lake.tags import dead_tags, newest_number, tag_snapshot

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

TRAININGS = "mesh.trainings"
# How long the inputs and the file of a model that is not in use are kept, until the newest training of its product.
KEPT = timedelta(days=90)
_ATTEMPTS = 8


TRAININGS_SCHEMA = TableSchema(
    "trainings",
    "One row for each training of a model.",
    (
        _column("training", "string", "Its name, which is also the tag of its inputs' snapshots: t1, t2, ..."),
        _column("product", "string", "The product whose events the model predicts, <domain>.<product>."),
        _column("model_name", "string", "The model, as its events name it."),
        _column("baseline_name", "string", "Its baseline, as events name that."),
        _column("trained_at", "timestamptz", "When, UTC, by the clock of the lake."),
        _column("known_until", "date", "The first day, UTC, that the model knows nothing of."),
        _column("judged_until", "date", "The day after the last one that it was judged on, from known_until on."),
        _column("inputs", "string", "JSON: the snapshot of each table that it learned from."),
        _column("code", "string", "The revision in git of the domain's code, with + where files were changed since."),
        _column("parameters", "string", "JSON: the parameters of the model."),
        _column("seed", "long", "The seed of what is drawn."),
        _column("threads", "int", "The threads that the training might use."),
        _column("libraries", "string", "JSON: the version of each library that its process had loaded."),
        _column("loss", "double", "What the model lost on the days that it was judged on; less is better."),
        _column("loss_of_baseline", "double", "What its baseline lost on these days."),
        _column("loss_in_use", "double", "What the model in use lost on them; missing without one.", False),
        _column("file", "string", "SHA-256 of the model's file, hexadecimal."),
        _column("published", "boolean", "Whether it became the model in use."),
        _column("reason", "string", "Why, or why not."),
    ),
    (),
    None,
    1,
)


@dataclass(frozen=True)
class Training:
    """One training, as the columns of `mesh.trainings` describe it; `name` is empty until it is recorded."""

    product: str
    model_name: str
    baseline_name: str
    trained_at: datetime
    known_until: date
    judged_until: date
    inputs: Mapping[str, int]
    code: str
    parameters: Mapping[str, Any]
    seed: int
    threads: int
    libraries: Mapping[str, str]
    loss: float
    loss_of_baseline: float
    loss_in_use: float | None
    file: str
    published: bool
    reason: str
    name: str = ""


_AS_JSON = ("inputs", "parameters", "libraries")


def read_trainings(catalog: Catalog, product: str | None = None) -> list[Training]:
    """Return the trainings of a product, by default all, newest first. Raises what `checked_table` raises."""
    table = checked_table(catalog, TRAININGS, TRAININGS_SCHEMA)
    found = [_read(row) for row in table.scan().to_arrow().to_pylist()] if table else []
    chosen = [each for each in found if product in (None, each.product)]
    return sorted(chosen, key=lambda each: _number(each.name), reverse=True)


def find_training(catalog: Catalog, name: str) -> Training:
    """Return the training of that name. Raises UsageError, which lists the newest ones, if there is none."""
    trainings = read_trainings(catalog)
    for each in trainings:
        if each.name == name:
            return each
    newest = ", ".join(each.name for each in trainings[:5]) or "none: 'mesh ml train' makes one"
    raise UsageError(f"{name}: no such training. The newest are {newest}; 'mesh ml list' lists them.")


def in_use(trainings: list[Training]) -> Training | None:
    """Return the published training among those of one product, newest first, that counts; None if there is none."""
    return next((each for each in trainings if each.published), None)


def kept_trainings(trainings: list[Training]) -> list[Training]:
    """Return those of all trainings, newest first, whose inputs and files are kept.

    They are the models in use, and those that were held back or replaced at most KEPT before the newest training of
    their product: where nobody trains, nothing goes.
    """
    kept = []
    newest: dict[str, datetime] = {}
    replaced: dict[str, datetime] = {}
    for each in trainings:
        latest = newest.setdefault(each.product, each.trained_at)
        ended = replaced.get(each.product, latest) if each.published else each.trained_at
        if latest - ended <= KEPT:
            kept.append(each)
        if each.published:
            replaced[each.product] = each.trained_at
    return kept


def dead_training_tags(table: Table, name: str, trainings: list[Training]) -> set[str]:
    """Return the tags of the table `name` that no kept one of all trainings, newest first, needs."""
    kept = {each.name for each in kept_trainings(trainings) if name in each.inputs}
    return dead_tags("t", table, _number(trainings[0].name) if trainings else 0, kept)


def old_models(catalog: Catalog, before: datetime) -> dict[str, int]:
    """Return the model files that no kept training names and that were written before a time: path -> bytes."""
    table = find_table(catalog, TRAININGS)
    if table is None:
        return {}
    kept = {each.file for each in kept_trainings(read_trainings(catalog))}
    found = files_in(table, _place(table, ""))
    return {path: size for path, size, at in found if at < before.timestamp() and path.rpartition("/")[2] not in kept}


def remove_models(catalog: Catalog, before: datetime) -> list[int]:
    """Remove what `old_models` finds, and return the bytes of each."""
    found = old_models(catalog, before)
    for path in found:
        remove_file(existing_table(catalog, TRAININGS), path)
    return [*found.values()]


def record_training(catalog: Catalog, training: Training, model: bytes) -> Training:
    """Store the model's file, tag the inputs, and append the row; return the training with its name.

    What a killed call leaves is no training, and maintenance removes it. Raises ConflictError if others keep
    committing, and UnavailableError.
    """
    table = ensure_table(catalog, TRAININGS, TRAININGS_SCHEMA)
    assert isinstance(table.io, PyArrowFileIO)
    replace_file(table.io, _place(table, training.file), model)

    def attempt() -> Training:
        ledger = existing_table(catalog, TRAININGS)
        rows = [_read(row) for row in ledger.scan().to_arrow().to_pylist()]
        inputs = find_tables(catalog, sorted(training.inputs))
        newest = max((_number(each.name) for each in rows), default=0)
        named = replace(training, name=f"t{max(newest, newest_number('t', inputs)) + 1}")
        for name, found in inputs.items():
            tag_snapshot(found, training.inputs[name], named.name)
        append_rows(ledger, pa.Table.from_pylist([_row(named)], schema=arrow_schema(TRAININGS_SCHEMA)))
        return named

    return on_conflict(_ATTEMPTS, attempt, f"{TRAININGS}: others keep committing. Train again.")


def read_model(catalog: Catalog, training: Training) -> bytes:
    """Return the model's file. Raises AttentionError if it is missing or has another content."""
    table = existing_table(catalog, TRAININGS)
    place = _place(table, training.file)
    try:
        with table.io.new_input(place).open() as file:
            content = file.read()
    except FileNotFoundError as error:
        raise AttentionError(
            f"{place}: the model of {training.name} is gone. Put it back, or train again: "
            f"'mesh ml reproduce {training.name}' says whether the same model comes out."
        ) from error
    if sha256(content).hexdigest() != training.file:
        raise AttentionError(f"{place}: not the model that {training.name} recorded. Put that back, or train again.")
    return content


def _place(table: Table, file: str) -> str:
    # Beside the table's folder: in it, maintenance would take the file for an orphan.
    return f"{table.location().rstrip('/').rpartition('/')[0]}/models/{file}"


def _number(name: str) -> int:
    return int(name.removeprefix("t"))


def _row(training: Training) -> dict[str, Any]:
    row = {name: getattr(training, name) for name in TRAININGS_SCHEMA.by_name if name != "training"}
    texts = {name: json.dumps(dict(row[name]), sort_keys=True) for name in _AS_JSON}
    return {**row, **texts, "training": training.name}


def _read(row: dict[str, Any]) -> Training:
    values = {**row, **{name: json.loads(row[name]) for name in _AS_JSON}}
    return Training(name=values.pop("training"), **values)
