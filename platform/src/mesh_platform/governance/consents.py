"""Consents of domains to breaking changes of products that they read, from `consents.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

from pydantic import AfterValidator

from mesh_platform.contract.version import Version, parse_version
from mesh_platform.contract.yaml_model import FileModel, Reason, Stated, Word
from mesh_platform.errors import Problem
from mesh_platform.governance.domain_lists import read_entries
from mesh_platform.mesh.mesh import Domain, Mesh

# A consent lapses if the change that it is for does not come within this time.
_WAITS = timedelta(days=366)


def _is_version(text: str) -> str:
    if parse_version(text) is None:
        raise ValueError(f"'{text}' is no version such as 2.0.0")
    return text


class Consent(FileModel):
    """A domain accepts the breaking version `version` of `product`, which it reads, until the next breaking one."""

    product: Word
    version: Annotated[str, AfterValidator(_is_version)]
    by: Stated
    date: date
    reason: Reason


class _Consents(FileModel):
    consents: tuple[Consent, ...]


@dataclass(frozen=True)
class Given:
    """A consent with its file and line."""

    consent: Consent
    domain: Domain
    path: str
    line: int

    def covers(self, product: str, version: Version) -> bool:
        """Whether it accepts the breaking change of this version of the product."""
        return self.consent.product == product and self.version.line == version.line

    @property
    def version(self) -> Version:
        """The version that the domain consents to."""
        found = parse_version(self.consent.version)
        assert found
        return found


def read_consents(mesh: Mesh) -> tuple[list[Given], list[Problem]]:
    """All consents of the mesh, and the problems of their files."""
    return read_entries(mesh, "consents", _Consents, Given)


def how_to_give(domain: Domain, product: str, version: Version, today: date) -> str:
    """A fix for messages: where to write the consent, and the text to add."""
    entry = f"{{product: {product}, version: {version}, by: <who>, date: {today}, reason: <why you can bear it>}}"
    whom = f"{domain.owners.steward} ({domain.owners.contact})"
    return f"ask {whom} to add to domains/{domain.name}/consents.yaml, under 'consents:', - {entry}"


def find_stale(
    given: Iterable[Given], versions: dict[str, str], read_by: dict[str, set[str]], today: date
) -> Iterator[Problem]:
    """Problems of consents without effect, given the version of each product and the domains that read it."""
    for each in given:
        product = each.consent.product
        version = parse_version(versions.get(product, ""))
        if product not in versions:
            yield Problem(each.path, each.line, f"consents to {product}, which nobody publishes.", "Remove it.")
        elif each.domain.name not in read_by.get(product, set()):
            message = f"consents to {product}, which {each.domain.name} does not read."
            yield Problem(each.path, each.line, message, "Remove it.")
        elif version and each.version.line < version.line:
            message = f"consents to {product} {each.version}, and it is {version} already."
            yield Problem(each.path, each.line, message, "Remove it.")
        elif version and each.version.line > version.next("breaking").line:
            message = f"consents to {product} {each.version}, and it is {version}; that comes after another one."
            yield Problem(
                each.path, each.line, message, f"Consent to {version.next('breaking')}, the next that breaks."
            )
        elif version and each.version.line > version.line and each.consent.date + _WAITS < today:
            message = f"consented on {each.consent.date} to {product} {each.version}, which has not come in a year."
            yield Problem(each.path, each.line, message, "Remove it.")
