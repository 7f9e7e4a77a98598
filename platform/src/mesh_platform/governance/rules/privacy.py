"""Rules of privacy: personal data is classified before anybody reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from mesh_platform.contract.contract import Contract, Field
from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope
from mesh_platform.policy.masks import Mask, masks
from mesh_platform.sql.references import references, target

_PEOPLE = {"customer", "client", "buyer", "employee", "staff", "driver", "user", "person", "patient", "member"}
_OF_PEOPLE = {"id", "no", "number", "code", "ref", "name", "key"}
# Words in the name of a column that by themselves indicate personal data.
_PERSONAL = {
    *("email", "mail", "phone", "telephone", "mobile", "fax", "address", "street", "postcode", "zip", "zipcode"),
    *("lat", "latitude", "lon", "lng", "longitude", "gps", "geo", "geolocation", "ip", "ssn", "iban", "passport"),
    *("birth", "birthday", "birthdate", "dob", "surname", "firstname", "lastname", "fullname", "gender"),
}
_NAME_PARTS = {"first", "last", "middle", "full", "given", "family", "maiden", "contact"}
_VALUES = (
    ("an e-mail address", re.compile(r"[^@\s]+@[^@\s]+\.[a-zA-Z]{2,}")),
    ("a phone number", re.compile(r"\+\d[\d ().-]{6,}\d")),
    ("an IP address", re.compile(r"(\d{1,3}\.){3}\d{1,3}")),
)


@rule()
def pii_classified(scope: Scope) -> Iterable[Problem]:
    """A column that looks like personal data has the classification `pii`, or its domain gives a reason in a waiver.

    The rule detects it by words in the name (names of people and their numbers, e-mail, phone, address, coordinates,
    birth) and by examples that are an e-mail address, a phone number or an IP address. People without a role for it
    then read a pseudonym.
    """
    for contract, schema, field in scope.fields():
        if field.classification != "pii" and (sign := _sign(field)):
            message = f"'{field.name}' of {schema.name} looks like personal data: {sign}."
            fix = "Add classification: pii, or a waiver with the reason."
            yield Problem(contract.path, field.line, message, fix)


@rule()
def masked_alike(scope: Scope) -> Iterable[Problem]:
    """A column that refers to a dimension has the same mask as the key that it refers to.

    A role that sees two masks of one value, or a mask here and the value there, finds no match when it joins the
    tables, and no error says so.
    """
    contracts = scope.mesh.contracts
    for contract in contracts.values():
        for field in references(contract):
            table, column = target(field)
            key = contracts[table].table.by_name.get(column) if table in contracts else None
            if key is None:
                continue
            here, there = _mask(contract, field), _mask(contracts[table], key)
            if here != there:
                seen = f"roles see {_called(here)} here, {_called(there)} there"
                message = f"'{field.name}' refers to {table}.{column}, and {seen}."
                fix = "Give both the same classification, mesh.mask and mesh.stablePseudonyms."
                yield Problem(contract.path, field.line, message, fix)


def _mask(contract: Contract, field: Field) -> tuple[str, bool] | None:
    """What a role that the contract does not list sees: the action, and whether its pseudonyms are stable."""
    found: Mask | None = masks("", contract, [field]).get(field.name)
    return (found.action, found.stable) if found else None


def _called(mask: tuple[str, bool] | None) -> str:
    if mask is None:
        return "the values"
    action, is_stable = mask
    return f"{action}, stable," if is_stable else action


def personal_sign(name: str) -> str | None:
    """The words in the name of a column that indicate personal data, as words for a message; None without any."""
    words = name.split("_")
    if found := _PERSONAL & {*words}:
        return f"'{sorted(found)[0]}' in its name"
    for first, second in pairwise(words):
        if (first in _PEOPLE and second in _OF_PEOPLE) or (first in _NAME_PARTS and second == "name"):
            return f"'{first}_{second}' in its name"
    return None


def _sign(field: Field) -> str | None:
    if sign := personal_sign(field.name):
        return sign
    for example in field.examples:
        for what, pattern in _VALUES:
            if field.type.name == "string" and pattern.fullmatch(str(example)):
                return f"{example} is {what}"
    return None
