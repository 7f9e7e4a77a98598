"""Reading the links of a column: to a column of a dimension, and to a term of a glossary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mesh_platform.contract.reading import Reading
from mesh_platform.contract.yaml_document import Place

# A link from contracts/ to a term: of the own domain's glossary, or of another's.
_TERM = re.compile(r"\.\./(?:\.\./(?P<domain>[a-z0-9_]+)/)?glossary\.yaml#(?P<name>[a-z0-9_]+)")


def read_reference(reading: Reading, place: Place, data: Mapping[str, Any]) -> tuple[str, str] | None:
    """The (`<domain>.<table>`, column) that a column refers to; the mesh checks whether it exists."""
    relations = [str(relation["to"]) for relation in data.get("relationships") or []]
    if len(relations) > 1 or any(not re.fullmatch(r"(\w+\.)?\w+\.\w+", to) for to in relations):
        fix = "Name one {to: <table>.<column>}, or <domain>.<table>.<column> of another domain."
        reading.add((*place, "relationships", 0), f"points to {relations!r}.", fix)
        return None
    if not relations:
        return None
    table, _, column = relations[0].rpartition(".")
    return (table if "." in table else f"{reading.domain}.{table}"), column


def read_term(reading: Reading, place: Place, links: Sequence[Mapping[str, Any]]) -> str | None:
    """The term that a column links to as its businessDefinition; another rule checks whether it exists."""
    for i, link in enumerate(links):
        if link["type"] == "businessDefinition":
            if found := _TERM.fullmatch(link["url"]):
                return f"{found['domain'] or reading.domain}.{found['name']}"
            fix = "Write ../glossary.yaml#<term>, or ../../<domain>/glossary.yaml#<term> of another domain."
            reading.add((*place, "authoritativeDefinitions", i, "url"), f"links to '{link['url']}'.", fix)
    return None
