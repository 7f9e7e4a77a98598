"""Train a model, judge it on days that it did not see, and record it; or train it again from the record.

The model that is judged is the one that is published: its last days are those before the days that it was judged on.
So is the model in use, which can therefore be judged on the same days.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mesh_platform.errors import AttentionError
from mesh_platform.lake.catalog import find_tables
from mesh_platform.lake.trainings import (
    Training,
    find_training,
    in_use,
    read_model,
    read_trainings,
    record_training,
)
from mesh_platform.mesh.git import git
from mesh_platform.ml import process
from mesh_platform.ml.features import check_features, cut, days_known, pin, read_frames
from mesh_platform.ml.learner import Declared, find_learner
from mesh_platform.ml.worker import BASELINE, FITTED, Task
from mesh_platform.sql.model import Model
from mesh_platform.text import counted, shown

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.mesh.mesh import Mesh

SEED = 1
# By how much a number of a model that is made again may differ, as a share of the largest of its column, where
# threads, libraries or machines differ.
TOLERANCE = 1e-4


def train(
    mesh: Mesh, models: Mapping[str, Model], catalog: Catalog, product: str, now: datetime, threads: int = 1
) -> Training:
    """Train a model for a product and record it; publish it if it beats its baseline and the one in use.

    Raises ContractError if it reads what it may not, UsageError if there are too few days, and what `process.run` and
    `record_training` raise.
    """
    declared = find_learner(mesh, product)
    check_features(mesh, models, declared)
    learner = declared.learner
    inputs = pin(catalog, declared)
    frames = read_frames(mesh, catalog, inputs)
    end = days_known(frames, learner.features, now)
    first = end - timedelta(days=learner.judged_days) if end else None
    known = cut(frames, learner.features, first) if first else {}
    if end is None or first is None or not all(known.values()):
        raise AttentionError(
            f"{product}: {' and '.join(inputs)} have no days before the last {learner.judged_days}, which a model is "
            "judged on. Build more days, then train again."
        )
    before = in_use(read_trainings(catalog, product))
    judged = {FITTED: None, BASELINE: None} | ({before.file: read_model(catalog, before)} if before else {})
    task = Task(
        module=declared.module,
        known=tuple(known),
        frames=tuple(frames),
        fit=True,
        parameters=dict(learner.parameters),
        seed=SEED,
        judge=tuple(judged),
        first=first.date().isoformat(),
        end=end.date().isoformat(),
    )
    held = cut(frames, learner.features, end)
    done = process.run(mesh.root, task, known, held, {k: v for k, v in judged.items() if v is not None}, threads)
    assert done.fitted is not None
    losses = done.outcome.losses
    # A model whose code is gone cannot be used any more either.
    loss_in_use = losses.get(before.file) if before else None
    published, reason = _judge(losses[FITTED], losses[BASELINE], learner.baseline_name, before, loss_in_use)
    training = Training(
        product=product,
        model_name=learner.model_name,
        baseline_name=learner.baseline_name,
        trained_at=now,
        known_until=first.date(),
        judged_until=end.date(),
        inputs=inputs,
        code=code_of(mesh, declared),
        parameters=dict(learner.parameters),
        seed=SEED,
        threads=threads,
        libraries=done.outcome.libraries,
        loss=losses[FITTED],
        loss_of_baseline=losses[BASELINE],
        loss_in_use=loss_in_use,
        file=sha256(done.fitted).hexdigest(),
        published=published,
        reason=reason,
    )
    return record_training(catalog, training, done.fitted)


def is_due(mesh: Mesh, catalog: Catalog, product: str, now: datetime) -> bool:
    """Whether, since the newest training, published or not, the features have as many new days as it is judged on.

    Without a training, whether they have days before these. Of the features only the times of the rows are read.
    Raises what `find_learner` raises.
    """
    learner = find_learner(mesh, product).learner
    found = find_tables(catalog, learner.features)
    if len(found) < len(learner.features):
        return False
    times = {name: table.scan(selected_fields=(learner.features[name],)).to_arrow() for name, table in found.items()}
    end = days_known(times, learner.features, now)
    if end is None:
        return False
    first = end - timedelta(days=learner.judged_days)
    newest = next(iter(read_trainings(catalog, product)), None)
    if newest:
        return first.date() >= newest.judged_until
    return all(cut(times, learner.features, first).values())


def _judge(
    loss: float, baseline: float, baseline_name: str, before: Training | None, in_use: float | None
) -> tuple[bool, str]:
    """Whether a model is published, and why."""
    # A loss that is no number beats nothing.
    if not loss < baseline:
        return False, f"held back: it loses {loss:.4f}, and {baseline_name} {baseline:.4f}"
    if before and in_use is not None and not loss < in_use:
        return False, f"held back: it loses {loss:.4f}, and {before.name}, which is in use, {in_use:.4f}"
    rivals = f"{baseline_name} {baseline:.4f}"
    if before:
        rivals += (
            f" and {before.name} {in_use:.4f}" if in_use is not None else f", and {before.name} cannot be loaded"
        )
    return True, f"it loses {loss:.4f}, {rivals}"


@dataclass(frozen=True)
class Reproduced:
    """Whether the same model came out of a training; `differs` has what was not as at that time, in words.

    `off` is by how much what the two models say differs: their loss on the days that the recorded one was judged on,
    and each number that they predict after them; as a share of the largest number of its column. None if the recorded
    file is gone or cannot be loaded, or they predict other rows.
    """

    training: str
    product: str
    recorded: str
    made: str
    differs: tuple[str, ...]
    off: float | None

    @property
    def equal(self) -> bool:
        """Whether the two files are equal, bit by bit."""
        return self.recorded == self.made

    @property
    def within(self) -> bool:
        """Whether what they say differs by TOLERANCE at most."""
        return self.off is not None and self.off <= TOLERANCE


def reproduce(
    mesh: Mesh, models: Mapping[str, Model], catalog: Catalog, name: str, threads: int | None = None
) -> Reproduced:
    """Train once more from the rows, parameters, seed and threads that a training recorded. It records nothing.

    Other `threads` may add numbers in another order. Raises UsageError for an unknown training, AttentionError if its
    inputs are gone, and what `train` raises.
    """
    training = find_training(catalog, name)
    declared = find_learner(mesh, training.product)
    check_features(mesh, models, declared)
    first, end = (datetime.combine(day, time(), UTC) for day in (training.known_until, training.judged_until))
    frames = read_frames(mesh, catalog, training.inputs)
    threads = threads or training.threads
    file = {}
    # Without it, whether the same file comes out can still be told.
    with suppress(AttentionError):
        file[training.file] = read_model(catalog, training)
    task = Task(
        module=declared.module,
        known=tuple(frames),
        frames=tuple(frames),
        fit=True,
        parameters=dict(training.parameters),
        seed=training.seed,
        judge=(FITTED,),
        first=first.date().isoformat(),
        end=end.date().isoformat(),
        predict=(FITTED, *file),
        now=end.isoformat(),
        run=name,
    )
    known, held = (cut(frames, declared.learner.features, until) for until in (first, end))
    done = process.run(mesh.root, task, known, held, file, threads)
    assert done.fitted is not None
    code, libraries = code_of(mesh, declared), done.outcome.libraries
    differs = [f"the code is of {code}, and was of {training.code}"] if code != training.code else []
    if threads != training.threads:
        differs.append(f"{counted(threads, 'thread')} now, and {training.threads} then")
    for library in sorted({*libraries, *training.libraries}):
        there, was = libraries.get(library, "missing"), training.libraries.get(library, "missing")
        differs += [f"{library} is {there}, and was {was}"] if there != was else []
    made, then = sha256(done.fitted).hexdigest(), done.predictions.get(training.file)
    off: float | None = 0.0
    if made != training.file:
        losses = _off(pa.table({"loss": [done.outcome.losses[FITTED]]}), pa.table({"loss": [training.loss]}))
        rows = None if then is None else _off(done.predictions[FITTED], then)
        off = None if losses is None or rows is None else max(losses, rows)
    return Reproduced(name, training.product, training.file, made, tuple(differs), off)


def _off(made: pa.Table, recorded: pa.Table) -> float | None:
    """The most that numbers of two tables differ by, as a share of the largest of their column.

    None if they have other rows, or differ in what is no fraction.
    """
    if made.schema != recorded.schema or made.num_rows != recorded.num_rows:
        return None
    most = 0.0
    for now, then in zip(made.columns, recorded.columns, strict=True):
        if not now.equals(then):
            off = pc.max(pc.abs(pc.subtract(now, then))).as_py() if pa.types.is_floating(now.type) else None
            largest = pc.max(pc.abs(then)).as_py() if off is not None else None
            if off is None or not largest:
                return None
            most = max(most, off / largest)
    return most


def code_of(mesh: Mesh, declared: Declared) -> str:
    """The revision of the domain's Python in git, with what was changed since; 'unknown' without git."""
    code = f":(glob){shown(declared.domain.folder, mesh.root)}/**/*.py"
    revision = git(mesh.root, "log", "-1", "--format=%h", "--abbrev=12", "--", code)
    if not revision or not revision.line:
        return "unknown"
    changed = git(mesh.root, "status", "--porcelain", "--", code).out.decode(errors="replace").splitlines()
    return revision.line + (f"+ with {counted(len(changed), 'changed file')}" if changed else "")
