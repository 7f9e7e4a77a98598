"""Start the process in which a domain's code learns and predicts, and read what it made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.feather

from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.ml import worker
from mesh_platform.ml.worker import Outcome, Task

if TYPE_CHECKING:
    import pyarrow as pa

# What a process may inherit; not where the lake is, and no key of it.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Done:
    """What the process made: a model's file, and the predictions by the models that were asked for them."""

    outcome: Outcome
    fitted: bytes | None
    predictions: Mapping[str, pa.Table]


def run(
    root: Path,
    task: Task,
    known: Mapping[str, pa.Table],
    frames: Mapping[str, pa.Table],
    models: Mapping[str, bytes],
    threads: int,
) -> Done:
    """Do a task with these rows, and with model files by the names that it gives them.

    The process runs in `.venv-ml` where that is installed, else in the environment of this one. Raises UsageError if
    a library of the model is missing, and AttentionError if the domain's code fails, with its own words.
    """
    with tempfile.TemporaryDirectory(prefix="mesh-ml-") as name:
        folder = Path(name)
        for kind, tables in (("known", known), ("frames", frames)):
            for table, rows in tables.items():
                pyarrow.feather.write_feather(rows, str(folder / f"{kind}-{table}"), compression="uncompressed")
        for model, content in models.items():
            (folder / model).write_bytes(content)
        task.write(folder)
        environment = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        environment |= {**dict.fromkeys(_THREADS, str(threads)), "PYTHONHASHSEED": "0"}
        command = [str(python_of(root)), "-m", worker.__name__, name]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == worker.LACKING:
            raise lacking(task.module, done.stderr.strip())
        if done.returncode:
            raise AttentionError(f"{task.module}: its code failed.\n{done.stderr.strip()}\nMend it, then run again.")
        fitted = folder / worker.FITTED
        predicted = {model: folder / f"{worker.PREDICTIONS}-{model}" for model in task.predict}
        return Done(
            Outcome(**json.loads((folder / worker.RESULT).read_text())),
            fitted.read_bytes() if fitted.exists() else None,
            # Not mapped: the folder goes.
            {
                model: pyarrow.feather.read_table(str(path), memory_map=False)
                for model, path in predicted.items()
                if path.exists()
            },
        )


def lacking(module: str, what: str) -> UsageError:
    """The error for a library, or for code of a model's file, that is not there."""
    fix = "'make .venv-ml/done' installs the packages of the models; if a model's file asks for it, train again."
    return UsageError(f"{module}: {what}. {fix}")


def python_of(root: Path) -> Path:
    """The Python that has the packages of the models: that of `.venv-ml` below `root`, else that of this process."""
    own = root / ".venv-ml" / "bin" / "python"
    return own if own.exists() else Path(sys.executable)
