"""Erase records from the file of the embedded broker: waiting, leased and dead-lettered ones, and what SQLite kept.

SQLite leaves deleted rows in free pages and in its write-ahead log, so the file is written again without both
(https://sqlite.org/lang_vacuum.html).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mesh_platform.broker.embedded_file import BrokerFile

# Bodies that are looked at in one transaction: others publish and receive between.
_AT_ONCE = 500


@dataclass(frozen=True)
class ErasedMessages:
    """How many messages lost some of their records, and how many were removed because no others were left."""

    rewritten: int = 0
    removed: int = 0


def erase_messages(path: Path, is_sought: Callable[[bytes], bool], dry_run: bool = False) -> ErasedMessages:
    """Remove the records for which `is_sought` from all queues of the broker's file; the others stay byte for byte.

    A record is a line. A message in which such a line is not JSON on its own is removed as a whole. Raises what
    `BrokerFile` raises.
    """
    if not path.exists():
        return ErasedMessages()
    file = BrokerFile(path, synchronous="FULL")
    rewritten = removed = 0
    try:
        last = 0
        while True:
            with file.write() as connection:
                rows = connection.execute(
                    "SELECT id, bytes FROM body WHERE id > ? ORDER BY id LIMIT ?", (last, _AT_ONCE)
                ).fetchall()
                for number, body in rows:
                    if not is_sought(body):
                        continue
                    kept = _without(body, is_sought)
                    rewritten, removed = rewritten + bool(kept), removed + (not kept)
                    if dry_run:
                        continue
                    if kept:
                        connection.execute("UPDATE body SET bytes = ? WHERE id = ?", (kept, number))
                    else:
                        connection.execute("DELETE FROM message WHERE id = ?", (number,))
            if not rows:
                break
            last = rows[-1][0]
        if not dry_run:
            file.rewrite()
    finally:
        file.close()
    return ErasedMessages(rewritten, removed)


def _without(body: bytes, is_sought: Callable[[bytes], bool]) -> bytes:
    """Return a body without the records sought; empty if it then has none."""
    lines = body.split(b"\n")
    gone = [is_sought(line) for line in lines]
    whole = any(gone) and all(_is_json(line) for line, sought in zip(lines, gone, strict=True) if sought)
    if not whole:
        return b""
    kept = [line for line, sought in zip(lines, gone, strict=True) if not sought]
    return b"\n".join(kept) if any(line.strip() for line in kept) else b""


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
