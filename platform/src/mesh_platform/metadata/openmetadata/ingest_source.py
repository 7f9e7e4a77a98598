"""A source for OpenMetadata's own ingestion, `metadata ingest`: it yields what `mesh export openmetadata` writes.

It runs where openmetadata-ingestion is installed. The mesh and its requirements need not be.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from metadata.generated.schema.metadataIngestion.workflow import Source as WorkflowSource
from metadata.ingestion.api.models import Either, StackTraceError
from metadata.ingestion.api.steps import InvalidSourceException, Source
from metadata.ingestion.models.barrier import Barrier
from metadata.ingestion.ometa.utils import quote

from mesh_platform.metadata.openmetadata.requests import ID_OF


class MeshSource(Source):
    """Yields requests from the file that the connection option `requests` names."""

    def __init__(self, config: WorkflowSource, metadata: Any) -> None:
        super().__init__()
        self.metadata = metadata
        options = config.serviceConnection.root.config.connectionOptions
        named = options.root.get("requests") if options else None
        if not named:
            raise InvalidSourceException("connectionOptions: requests is missing. Name the file of the requests.")
        self.path = Path(str(named))
        self.ids: dict[str, str] = {}

    @classmethod
    def create(cls, config_dict: dict[str, Any], metadata: Any, pipeline_name: str | None = None) -> MeshSource:
        return cls(WorkflowSource.model_validate(config_dict), metadata)

    def prepare(self) -> None:
        pass

    def test_connection(self) -> None:
        with self.path.open():
            pass

    def close(self) -> None:
        pass

    def _iter(self) -> Iterator[Either[Any]]:
        requests = json.loads(self.path.read_text(encoding="utf-8"))
        for model, group in groupby(requests, key=lambda request: request["model"]):
            # What the next ones refer to may wait to be sent.
            yield Either(right=Barrier())
            module, _, name = model.partition(":")
            create = getattr(importlib.import_module(f"metadata.generated.schema.{module}"), name)
            for request in group:
                try:
                    yield Either(right=create.model_validate(self._with_ids(request["body"])))
                except (ValueError, LookupError) as error:
                    named = str(request["body"].get("name", "an edge"))
                    yield Either(left=StackTraceError(name=f"{name} {named}", error=str(error)))

    def _with_ids(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._with_ids(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._with_ids(each) for each in value]
        if isinstance(value, str) and value.startswith(ID_OF):
            if value not in self.ids:
                path, _, fqn = value.removeprefix(ID_OF).partition(" ")
                found = self.metadata.client.get(f"/{path}/name/{quote(fqn)}")
                if not found:
                    raise LookupError(f"{path} {fqn}: is not on the server")
                self.ids[value] = found["id"]
            return self.ids[value]
        return value
