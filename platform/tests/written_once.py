"""Files that many tests begin with: each process makes them once, and afterwards only writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

_MADE: dict[Callable[[Path], object], dict[Path, bytes]] = {}


def write_once(make: Callable[[Path], object], root: Path) -> None:
    """Write below `root` the files that `make` writes below its folder; they must not depend on that folder."""
    if make not in _MADE:
        with TemporaryDirectory() as folder:
            make(Path(folder))
            files = (path for path in Path(folder).rglob("*") if path.is_file())
            _MADE[make] = {path.relative_to(folder): path.read_bytes() for path in files}
    for name, content in _MADE[make].items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
