"""What must change in an entity so that it says what the mesh says, and keeps what people have added.

The rules, by field:

- Labels: those that the mesh has set and no longer has go; the labels of people, and of other tools, stay.
- Owners: the team is the mesh's to name; users who own it too stay. Domains: as the mesh has them.
- Other references: those to entities of the mesh are the mesh's; others stay.
- Columns, of tables and of contracts, fields and tasks: those that the mesh has, in its order, each compared in the
  same way.
- Descriptions and other values: as the mesh has them. What the mesh has no word for stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mesh_platform.metadata.openmetadata.kinds import PLACE, Entity, Ref

_NAMED = ("columns", "schemaFields", "tasks", "schema")


@dataclass
class Comparison:
    """Compares entities with what a server holds.

    `entities` are the kinds and names that the mesh has; `namespace` is that of its tags.
    """

    namespace: str
    entities: Collection[tuple[str, str]]
    differences: list[str] = field(default_factory=list, init=False)

    def changes(self, wanted: Entity, found: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the fields to set (None: to remove), with a `Ref` for new references, and which values differ."""
        self.differences, changes = [], {}
        for name, value in wanted.body.items():
            if name in PLACE or found.get(name) == value:
                continue
            before = len(self.differences)
            merged = self._merge(name, found.get(name), value)
            if len(self.differences) > before:
                changes[name] = merged
        return changes, self.differences

    def _merge(self, path: str, current: Any, wanted: Any) -> Any:
        name = path.rpartition(".")[2]
        if name == "tags":
            return self._labels(path, current or [], wanted)
        if isinstance(wanted, Ref):
            if not current or _ref(current) != wanted:
                self.differences.append(path)
            return wanted
        if isinstance(wanted, Mapping):
            return self._fields(path, current if isinstance(current, Mapping) else {}, wanted)
        if isinstance(wanted, list):
            if name in _NAMED and path != "tablePartition.columns":
                return self._named(path, current or [], wanted)
            if any(isinstance(each, Ref) for each in wanted) or _are_references(current):
                return self.references(path, current or [], wanted)
            return self._list(path, current or [], wanted)
        if current != wanted:
            self.differences.append(path)
        return wanted

    def _fields(self, path: str, current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
        merged = {
            **current,
            **{name: self._merge(f"{path}.{name}", current.get(name), wanted[name]) for name in wanted},
        }
        return {name: value for name, value in merged.items() if value is not None}

    def _list(self, path: str, current: Sequence[Any], wanted: Sequence[Any]) -> list[Any]:
        if len(current) == len(wanted) and all(map(_holds, current, wanted)):
            return [*current]
        self.differences.append(path)
        return [*wanted]

    def _named(self, path: str, current: Sequence[Any], wanted: Sequence[Any]) -> list[Any]:
        known = {each["name"]: each for each in current}
        names = [each["name"] for each in wanted]
        self.differences += [f"{path}.{name}" for name in known if name not in names]
        merged = []
        for each in wanted:
            there = known.get(each["name"])
            # Most are equal, and no more need be known of them.
            if there is not None and [*map(there.get, each)] == [*each.values()]:
                merged.append(there)
            elif there is not None:
                merged.append(self._fields(f"{path}.{each['name']}", there, each))
            else:
                self.differences.append(f"{path}.{each['name']}")
                merged.append({name: value for name, value in each.items() if value is not None})
        if [name for name in known if name in names] != [name for name in names if name in known]:
            self.differences.append(path)
        return merged

    def _labels(self, path: str, current: Sequence[Any], wanted: Sequence[Any]) -> list[Any]:
        mine = {(each["source"], each["tagFQN"]) for each in wanted}
        kept = [each for each in current if (each["source"], each["tagFQN"]) in mine or not self._is_label(each)]
        known = {(each["source"], each["tagFQN"]) for each in kept}
        added = [each for each in wanted if (each["source"], each["tagFQN"]) not in known]
        if added or len(kept) < len(current):
            self.differences.append(path)
        return [*kept, *added]

    def _is_label(self, each: Mapping[str, Any]) -> bool:
        """Whether the mesh has set this label. People's are manual, other tools' are of other classifications."""
        if each.get("labelType") != "Automated":
            return False
        first = each["tagFQN"].partition(".")[0]
        if each["source"] == "Glossary":
            return ("glossary", first) in self.entities
        return bool(first == self.namespace)

    def references(self, path: str, current: Sequence[Any], wanted: Sequence[Ref]) -> list[Any]:
        # What an entity inherits is not its own.
        own = [each for each in current if not each.get("inherited")]
        kept = [each for each in own if _ref(each) in wanted or not self._is_reference(path, each)]
        known = {_ref(each) for each in kept}
        added = [each for each in wanted if each not in known]
        if added or len(kept) < len(own):
            self.differences.append(path)
        return [*({"id": each["id"], "type": each["type"]} for each in kept), *added]

    def _is_reference(self, path: str, each: Mapping[str, Any]) -> bool:
        if path == "domains" or (path == "owners" and each["type"] == "team"):
            return True
        return _ref(each) in self.entities


def _ref(each: Mapping[str, Any]) -> Ref:
    return Ref(each["type"], each.get("fullyQualifiedName") or each.get("name") or "")


def _are_references(current: Any) -> bool:
    return (
        bool(current)
        and isinstance(current, list)
        and all(isinstance(each, dict) and "id" in each and "type" in each for each in current)
    )


def _holds(current: Any, wanted: Any) -> bool:
    """Whether a value has all that is wanted; servers add fields of their own."""
    if isinstance(current, Mapping) and isinstance(wanted, Mapping):
        return all(_holds(current.get(name), value) for name, value in wanted.items())
    return bool(current == wanted)
