"""Validate request bodies with OpenMetadata's own models; run in the environment that has openmetadata-ingestion.

Reads [[model, body], ...] from stdin, and writes [[number, message], ...] of those that are refused to stdout.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types


def main() -> None:
    # The package's own __init__ imports all connectors, for a quarter of a minute.
    found = importlib.util.find_spec("metadata")
    assert found is not None
    stub = types.ModuleType("metadata")
    stub.__path__ = list(found.submodule_search_locations or ())
    sys.modules["metadata"] = stub
    refused = []
    for number, (model, body) in enumerate(json.load(sys.stdin)):
        module, _, name = model.partition(":")
        try:
            getattr(importlib.import_module(f"metadata.generated.schema.{module}"), name).model_validate(body)
        except ValueError as error:
            refused.append([number, str(error)])
    json.dump(refused, sys.stdout)


if __name__ == "__main__":
    main()
