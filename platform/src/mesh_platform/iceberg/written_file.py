"""A file that is being written through another one, with work to do at each write or once it is complete."""

from __future__ import annotations

from pyiceberg.io import OutputStream


class WrittenFile:
    """Passes everything on to `file`. Subclasses extend `write`, and `complete`, which is called once."""

    def __init__(self, file: OutputStream) -> None:
        self._file = file
        self.closed = False

    def write(self, b: bytes) -> int:
        """Write bytes; return their number."""
        return self._file.write(b)

    def flush(self) -> None:
        """Pass on what is buffered."""
        # pyiceberg's protocol does not name it; the files of Arrow and Python have it, and Parquet's writer calls it.
        self._file.flush()  # type: ignore[attr-defined]

    def tell(self) -> int:
        """Return how many bytes are written."""
        return self._file.tell()

    def close(self) -> None:
        """Complete the file; a second call does nothing."""
        if not self.closed:
            self.closed = True
            self.complete()

    def complete(self) -> None:
        """Close the file below."""
        self._file.close()

    def __enter__(self) -> OutputStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
