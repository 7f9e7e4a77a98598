"""`make notebooks`: runs each notebook on the lake of MESH_STATE, and writes what it shows as a page."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from markdown_it import MarkdownIt
from mesh_platform.settings import Settings
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parent
# A browser asks for nothing but what is in the page.
HEAD = """<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>
<meta http-equiv=Content-Security-Policy content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>body{{max-width:60rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif}}img{{max-width:100%}}
table{{border-collapse:collapse}}td,th{{padding:.2rem .6rem;text-align:right}}pre{{overflow-x:auto}}</style>
"""


def page_of(path: Path) -> str:
    """The page of a notebook, run now. Raises CellExecutionError if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    # What cells write is in the notebook; besides, the process warns of its ports, which are of loopback.
    NotebookClient(notebook, timeout=600, resources=resources).execute(stderr=subprocess.DEVNULL)
    return HEAD.format(title=escape(path.stem)) + "\n".join(part for cell in notebook.cells for part in _parts(cell))


def _parts(cell: Any) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield MarkdownIt("commonmark", {"html": False}).render(cell.source)
        return
    yield f"<details><summary>Code</summary><pre>{escape(cell.source)}</pre></details>"
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            yield f'<p><img alt="Plot" src="data:image/png;base64,{data["image/png"].strip()}">'
        elif "text/html" in data:
            yield data["text/html"]
        else:
            yield f"<pre>{escape(output.get('text') or data.get('text/plain', ''))}</pre>"


def main(out: Path) -> int:
    """Write the pages to a folder and say where they are; 1 if there is no lake, or a notebook fails."""
    if not Settings().has_lake:
        print(f"{Settings().state_dir}: no lake is here yet. 'make run' makes one.", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(FOLDER.glob("*.ipynb")):
        page = out / f"{path.stem}.html"
        try:
            page.write_text(page_of(path), encoding="utf-8")
        except CellExecutionError as error:
            print(f"{path.name}: {error.ename}: {error.evalue}", file=sys.stderr)
            return 1
        print(page.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
