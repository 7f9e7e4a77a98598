"""The process in which a domain's code learns and predicts: `python -m mesh_platform.ml.worker FOLDER`.

It gets rows and model files in FOLDER, and no address or key of the lake; and it leaves there what it made. Its
environment pins what else could change a bit of the result: threads and the seed of Python's hashes.
"""

from __future__ import annotations

import importlib
import json
import pickle
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import date, datetime
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.feather

if TYPE_CHECKING:
    from mesh_platform.ml.learner import Learner, Model

TASK, RESULT, FITTED, PREDICTIONS = "task.json", "result.json", "fitted", "predictions"
# A model file in the folder, by its hash; or the baseline, which is made anew.
BASELINE = "baseline"
# The exit code if a library of the model, or code that its file needs, is not there.
LACKING = 9


@dataclass(frozen=True)
class Task:
    """What to do, in this order: fit a model, judge models on the days from `first` to before `end`, predict.

    `known` are the tables that models are fitted on, `frames` those that they are judged on and predict from.
    `judge` and `predict` name models: FITTED, BASELINE or a file in the folder.
    """

    module: str
    known: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    fit: bool = False
    parameters: dict[str, Any] | None = None
    seed: int = 0
    judge: tuple[str, ...] = ()
    first: str = ""
    end: str = ""
    predict: tuple[str, ...] = ()
    now: str = ""
    run: str = ""

    def write(self, folder: Path) -> None:
        """Write the task for the process."""
        (folder / TASK).write_text(json.dumps(asdict(self)))


@dataclass(frozen=True)
class Outcome:
    """The losses of the models that were judged, and the version of each library that the process had loaded.

    `lacking` has, for each model that could not be judged or predict, what its file asks for and is not there.
    """

    losses: dict[str, float]
    libraries: dict[str, str]
    lacking: dict[str, str]


def work(folder: Path) -> None:
    """Do the task of the folder."""
    task = Task(**json.loads((folder / TASK).read_text()))
    # The process runs in the root of the mesh.
    sys.path.insert(0, str(Path("domains").resolve()))
    learner: Learner = importlib.import_module(task.module).learner
    models: dict[str, Model] = {}

    def model(name: str) -> Model:
        if name not in models:
            if name == BASELINE:
                models[name] = learner.baseline(_read(folder, "known", task.known))
            else:
                models[name] = _load(folder / name)
        return models[name]

    if task.fit:
        fitted = learner.fit(_read(folder, "known", task.known), task.parameters or {}, task.seed)
        (folder / FITTED).write_bytes(pickle.dumps(fitted, protocol=5))
    frames = _read(folder, "frames", task.frames)
    losses: dict[str, float] = {}
    lacking: dict[str, str] = {}
    for name in task.judge:
        try:
            losses[name] = float(model(name).loss(frames, *map(date.fromisoformat, (task.first, task.end))))
        except _LackingError as error:
            lacking[name] = str(error)
    # Before predictions, which load more: so a training has the same ones whatever else is asked.
    libraries = _libraries()
    for name in task.predict:
        try:
            rows = model(name).predict(frames, datetime.fromisoformat(task.now), task.run)
        except _LackingError as error:
            lacking[name] = str(error)
            continue
        pyarrow.feather.write_feather(rows, str(folder / f"{PREDICTIONS}-{name}"), compression="uncompressed")
    (folder / RESULT).write_text(json.dumps(asdict(Outcome(losses, libraries, lacking))))


class _LackingError(Exception):
    """What a model or its file needs is not there."""


def _load(path: Path) -> Model:
    try:
        model: Model = pickle.loads(path.read_bytes())
    except (ImportError, AttributeError) as error:
        raise _LackingError(f"{type(error).__name__}: {error}") from error
    return model


def _read(folder: Path, kind: str, names: tuple[str, ...]) -> dict[str, pa.Table]:
    return {name: pyarrow.feather.read_table(str(folder / f"{kind}-{name}")) for name in names}


def _libraries() -> dict[str, str]:
    found = {
        distribution: version(distribution)
        for module, distributions in packages_distributions().items()
        if module in sys.modules
        for distribution in distributions
    }
    return {"python": platform.python_version(), **dict(sorted(found.items()))}


if __name__ == "__main__":
    try:
        work(Path(sys.argv[1]))
    except (ImportError, _LackingError) as error:
        print(str(error), file=sys.stderr)
        sys.exit(LACKING)
