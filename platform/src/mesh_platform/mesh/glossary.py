"""The glossary of a domain: `glossary.yaml` as terms that columns, dashboards and catalogs link to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StringConstraints

from mesh_platform.contract.yaml_model import FileModel, Word

GLOSSARY = "glossary.yaml"
# Also the last part of a link to it, `glossary.yaml#<name>`.
TermName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")]


class Term(FileModel):
    """A term and its definition; published columns must not use the names `instead_of` for it.

    A `kpi` is a figure that is computed once, by its owner's domain; `unit` is its unit.
    """

    definition: Word
    unit: Word | None = None
    kpi: bool = False
    instead_of: tuple[TermName, ...] = ()


class Glossary(FileModel):
    """The terms of one domain by name."""

    terms: Mapping[TermName, Term] = Field(min_length=1)
