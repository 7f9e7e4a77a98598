"""Score the models in use on the days that have passed since they were judged, and hold them to their promise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from mesh_platform.lake.scores import Score, models_in_use, record_score
from mesh_platform.lake.trainings import read_model
from mesh_platform.ml import process
from mesh_platform.ml.features import check_features, cut, days_known, pin, read_frames
from mesh_platform.ml.learner import find_learner
from mesh_platform.ml.worker import BASELINE, Task
from mesh_platform.sql.model import Model

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.mesh.mesh import Mesh

# A model is held to its promise by its last days.
MOST_DAYS = 28


def broken_promise(found: Score) -> str:
    """What a score says that breaks the promise."""
    return (
        f"{found.product}: {found}. The baseline predicts until a score keeps the promise. "
        "'mesh ml train' may find a better model."
    )


def score(mesh: Mesh, models: Mapping[str, Model], catalog: Catalog, product: str, now: datetime) -> Score | None:
    """Score the model in use, and record it; None if none is, or no day has passed that it can be scored on.

    A model predicts the same of a day whenever it is asked, so this is the score of what it sent. Raises what
    `train.train` raises.
    """
    declared = find_learner(mesh, product)
    check_features(mesh, models, declared)
    used = models_in_use(catalog).get(product)
    if used is None:
        return None
    training, features = used.training, declared.learner.features
    frames = read_frames(mesh, catalog, pin(catalog, declared))
    end = days_known(frames, features, now)
    first = datetime.combine(training.judged_until, time(), UTC)
    if end is None or end - first < timedelta(days=declared.learner.judged_days):
        return None
    first = max(first, end - timedelta(days=MOST_DAYS))
    known = cut(frames, features, first)
    task = Task(
        module=declared.module,
        known=tuple(known),
        frames=tuple(frames),
        judge=(training.file, BASELINE),
        first=first.date().isoformat(),
        end=end.date().isoformat(),
    )
    files = {training.file: read_model(catalog, training)}
    outcome = process.run(mesh.root, task, known, cut(frames, features, end), files, training.threads).outcome
    if training.file in outcome.lacking:
        raise process.lacking(declared.module, outcome.lacking[training.file])
    losses = outcome.losses
    loss, baseline, promised = losses[training.file], losses[BASELINE], declared.contract.accuracy
    # A loss that is no number keeps no promise.
    assert promised is not None
    found = Score(
        training.name, product, now, first.date(), end.date(), loss, baseline, promised, loss <= promised * baseline
    )
    record_score(catalog, found)
    return found
