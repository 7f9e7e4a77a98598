"""Load a script of a domain for what it declares."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from mesh_platform.errors import ContractError, Problem


def load_script(path: Path, module: str, label: str, fix: str) -> ModuleType:
    """Run the script under the name `module`, and return it.

    `label` is its path in messages. Raises ContractError with the line that failed and `fix`.
    """
    spec = importlib.util.spec_from_file_location(module, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    # Because dataclasses look up their own module there.
    sys.modules[spec.name] = loaded
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else 1
        raise ContractError([Problem(label, line or 1, f"{type(error).__name__}: {error}.", fix)]) from error
    return loaded
