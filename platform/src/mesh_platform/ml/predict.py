"""Predict with the model in use, or its baseline if it broke its promise, and send that as events to its queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

from mesh_platform.broker import Broker
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.events.event import Record, format_time
from mesh_platform.events.producer import batch, publish, wrap
from mesh_platform.lake.scores import models_in_use
from mesh_platform.lake.trainings import read_model
from mesh_platform.ml import process
from mesh_platform.ml.features import check_features, cut, pin, read_frames
from mesh_platform.ml.learner import find_learner
from mesh_platform.ml.worker import BASELINE, Task
from mesh_platform.sql.model import Model

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog

    from mesh_platform.contract.contract import Contract, Field
    from mesh_platform.mesh.mesh import Mesh

_IN_MESSAGE = 500


@dataclass(frozen=True)
class Predicted:
    """What was predicted, and how many events the broker confirmed.

    The version is the training of the model, or the one that the baseline stands in for.
    """

    product: str
    model_name: str
    model_version: str
    made_at: datetime
    events: int


def predict(
    mesh: Mesh,
    models: Mapping[str, Model],
    catalog: Catalog,
    broker: Broker,
    product: str,
    now: datetime,
    on_sent: Callable[[int], None] = lambda events: None,
) -> Predicted:
    """Predict what follows from the rows of now, and publish it. At the same `now` the same events go out again,
    which ingest knows.

    Raises UsageError if no model is in use, AttentionError if the model's columns are not those of the event, and
    what `process.run` and `Broker.publish` raise.
    """
    declared = find_learner(mesh, product)
    check_features(mesh, models, declared)
    learner, contract = declared.learner, declared.contract
    used = models_in_use(catalog).get(product)
    if used is None:
        raise UsageError(f"{product}: no model is in use. 'mesh ml train {product}' trains one.")
    frames = cut(read_frames(mesh, catalog, pin(catalog, declared)), learner.features, now)
    model, version = BASELINE if used.fell_back else used.training.file, used.training.name
    task = Task(
        module=declared.module,
        known=tuple(frames),
        frames=tuple(frames),
        predict=(model,),
        now=now.isoformat(),
        run=f"{version}{'-baseline' if used.fell_back else ''}-{now:%Y%m%dT%H%M%S}",
    )
    files = {} if used.fell_back else {model: read_model(catalog, used.training)}
    done = process.run(mesh.root, task, frames, frames, files, used.training.threads)
    if model in done.outcome.lacking:
        raise process.lacking(declared.module, done.outcome.lacking[model])
    own = {"model_name": used.predicts, "model_version": version}
    records = _records(contract, done.predictions[model], now, own)
    lines = (event.to_json() for event in wrap(contract, records, f"predict_{contract.name}"))
    sent = publish(broker, contract, batch(lines, _IN_MESSAGE), on_sent)
    return Predicted(product, used.predicts, version, now, sent)


def _records(contract: Contract, rows: pa.Table, now: datetime, own: Mapping[str, str]) -> Iterator[Record]:
    event = contract.event
    assert event is not None
    assert event.time is not None
    given = {*own, event.time}
    wanted, there = {*event.by_name} - given, {*rows.column_names}
    required = {name for name in wanted if event.by_name[name].required}
    if not required <= there <= wanted:
        what = ", ".join(sorted(required - there)) or "nothing"
        surplus = ", ".join(sorted(there - wanted)) or "nothing"
        raise AttentionError(
            f"{contract.identifier}: the model's predictions lack {what} and have {surplus} in excess. Its events "
            f"take the columns {', '.join(sorted(wanted))} of {contract.path}. Correct `predict` of the model."
        )
    for row in rows.to_pylist():
        values = {**row, **own, event.time: now}
        yield Record(
            now,
            {
                name: _sent(field, values[name])
                for name, field in event.by_name.items()
                if values.get(name) is not None
            },
        )


def _sent(field: Field, value: Any) -> Any:
    """A value as the event has it: numbers rounded to what the contract stores."""
    if field.type.precision:
        exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        return field.type.write(exact.quantize(Decimal((0, (1,), -field.type.scale)), ROUND_HALF_EVEN))
    if isinstance(value, datetime):
        return format_time(value)
    return value.isoformat() if isinstance(value, date) else value
