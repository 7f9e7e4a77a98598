"""Reading YAML files into pydantic models, with the line of every fault."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from mesh_platform.contract.yaml_document import Document, read_document
from mesh_platform.errors import Problem

Word = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


def _said(text: str) -> str:
    if re.fullmatch(r"<.*>", text):
        raise ValueError(f"'{text}' is a place to fill in")
    return text


# Text that a person has written, not a placeholder of a template.
Stated = Annotated[Word, AfterValidator(_said)]
# Not Stated with Field(min_length=10) as a field's value: pydantic keeps the shorter length of Word then.
Reason = Annotated[str, StringConstraints(min_length=10, strip_whitespace=True), AfterValidator(_said)]


class FileModel(BaseModel):
    """Base of the models of a domain's YAML files; other keys are not allowed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_Model = TypeVar("_Model", bound=FileModel)


def read_model(model: type[_Model], path: Path, root: Path) -> tuple[_Model | None, list[Problem]]:
    """Read the file at `path`; return None and its problems where it is invalid. Messages show paths below `root`."""
    found, _, problems = read_with_lines(model, path, root)
    return found, problems


def read_with_lines(
    model: type[_Model], path: Path, root: Path
) -> tuple[_Model | None, Document | None, list[Problem]]:
    """As `read_model`, with the document, which knows the lines; it is None where the file is unreadable."""
    document = read_document(path, root)
    if isinstance(document, Problem):
        return None, None, [replace(document, rule="domain-files")]
    try:
        return model.model_validate(document.data), document, []
    except ValidationError as error:
        return (
            None,
            document,
            [
                Problem(
                    document.label,
                    document.line(tuple(detail["loc"])),
                    f"{'.'.join(str(part) for part in detail['loc']) or 'the file'}: {detail['msg']}.",
                    f"It has {', '.join(_allowed(model, detail['loc']))}.",
                    rule="domain-files",
                )
                for detail in error.errors()
            ],
        )


def _allowed(model: type[FileModel], place: Sequence[Any]) -> Sequence[str]:
    """The keys of the innermost model on the path `place`."""
    inner: Any = model
    for part in place:
        field = inner.model_fields.get(part)
        found = field and _model_in(field.annotation)
        inner = found or inner
    return [*inner.model_fields]


def _model_in(annotation: Any) -> type[FileModel] | None:
    """The model that a type is or contains (as an optional, a list or a mapping)."""
    if isinstance(annotation, type) and issubclass(annotation, FileModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model_in(part))), None)
