"""How models in use do as actuals come in: `mesh.scores`, one row for each time that one was scored.

A model whose last score breaks the promise of its contract is not used: its baseline stands in until a later score
keeps the promise, or another model is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mesh_platform.contract.contract import TableSchema
from mesh_platform.contract.contract import platform_column as _column
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.lake.catalog import arrow_schema, checked_table, ensure_table
from mesh_platform.lake.trainings import Training, in_use, read_trainings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

SCORES = "mesh.scores"
_ATTEMPTS = 8


SCORES_SCHEMA = TableSchema(
    "scores",
    "One row for each time that a model in use was scored.",
    (
        _column("training", "string", "The training of the model, as in mesh.trainings."),
        _column("product", "string", "The product whose events it predicts, <domain>.<product>."),
        _column("scored_at", "timestamptz", "When, UTC, by the clock of the lake."),
        _column("first_day", "date", "The first day, UTC, that counts: the one after those that it was judged on."),
        _column("end_day", "date", "The day after the last one that counts."),
        _column("loss", "double", "What the model lost on these days; less is better."),
        _column("loss_of_baseline", "double", "What its baseline lost on them, made of the days before."),
        _column("promised", "double", "The share of the baseline's loss that the contract promises."),
        _column("kept", "boolean", "Whether the promise was kept."),
    ),
    (),
    None,
    1,
)


@dataclass(frozen=True)
class Score:
    """One score, as the columns of `mesh.scores` describe it."""

    training: str
    product: str
    scored_at: datetime
    first_day: date
    end_day: date
    loss: float
    loss_of_baseline: float
    promised: float
    kept: bool

    def __str__(self) -> str:
        than = "no more" if self.kept else "more"
        return (
            f"{self.training} lost {self.loss:.4f} from {self.first_day} to before {self.end_day}, which is {than} "
            f"than {self.promised} of the {self.loss_of_baseline:.4f} of its baseline"
        )


@dataclass(frozen=True)
class InUse:
    """The model in use for a product, and its last score, None if it has none yet."""

    training: Training
    score: Score | None

    @property
    def fell_back(self) -> bool:
        """Whether the baseline stands in, because the model broke its promise."""
        return self.score is not None and not self.score.kept

    @property
    def predicts(self) -> str:
        """The name of what predicts: the model, or its baseline."""
        return self.training.baseline_name if self.fell_back else self.training.model_name


def read_scores(catalog: Catalog) -> list[Score]:
    """Return all scores, newest first. Raises what `checked_table` raises."""
    table = checked_table(catalog, SCORES, SCORES_SCHEMA)
    rows: list[dict[str, Any]] = table.scan().to_arrow().to_pylist() if table else []
    return sorted((Score(**row) for row in rows), key=lambda score: (score.scored_at, score.end_day), reverse=True)


def record_score(catalog: Catalog, score: Score) -> None:
    """Append a score. Raises ConflictError if others keep committing, and UnavailableError."""
    rows = pa.Table.from_pylist([asdict(score)], schema=arrow_schema(SCORES_SCHEMA))

    def attempt() -> None:
        append_rows(ensure_table(catalog, SCORES, SCORES_SCHEMA), rows)

    on_conflict(_ATTEMPTS, attempt, f"{SCORES}: others keep committing. Score again.")


def models_in_use(catalog: Catalog) -> Mapping[str, InUse]:
    """Return the model in use of each product that has one. Raises what `checked_table` raises."""
    trainings = read_trainings(catalog)
    scores = read_scores(catalog) if trainings else []
    found = {}
    for product in sorted({each.product for each in trainings}):
        training = in_use([each for each in trainings if each.product == product])
        if training:
            found[product] = InUse(training, next((s for s in scores if s.training == training.name), None))
    return found
