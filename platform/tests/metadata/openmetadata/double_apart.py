"""What the double keeps apart from entities: ports of data products, and what is sent of an entity over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from .double import Doc, Double


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


_SIDES = ("inputPorts", "outputPorts")
# Client: the end of the path, the collection and what it is of; and the field that has the newest, by source.
_SERIES = {
    "tables": ("tableProfile", "table", ""),
    "pipelines": ("status", "pipeline", "pipelineStatus"),
    "dataQuality": ("testCaseResults", "testCase", "testCaseResult"),
}


def answer_apart(double: Double, method: str, path: str, query: dict[str, str], body: Any) -> Any:
    """The answer to a request of this kind; None for all others."""
    parts = [unquote(part) for part in path.split("/")]
    if parts[0] == "dataProducts" and len(parts) > 2 and parts[1] != "name":
        return _ports(double, parts, body)
    end, kind, latest = _SERIES.get(parts[0], ("", "", ""))
    if not end or end not in parts:
        return None
    name = parts[-1] if kind == "testCase" else parts[1]
    found = double.find(kind, ["name", name] if (kind, name) in double.by_name else [name], include="all")
    held = double.series.setdefault((end, found["id"]), {})
    if method == "GET":
        between = range(int(query["startTs"]), int(query["endTs"]) + 1)
        return {"data": [record for at, record in held.items() if at in between], "paging": {"total": len(held)}}
    double.bodies.append((end, body))
    record = body.get("tableProfile", body)
    if kind == "pipeline":
        # Source: each task must be one of the pipeline's; of one time the last one stays.
        tasks = {each["name"] for each in found["tasks"]}
        if strange := [each["name"] for each in record["taskStatus"] if each["name"] not in tasks]:
            raise Refused(400, f"Invalid task name {strange[0]}")
    elif record["timestamp"] in held:
        # Source: results are unique by time. Profiles: assumed.
        raise Refused(409, f"{kind} has a record of {record['timestamp']} already")
    held[record["timestamp"]] = record
    if latest:
        found[latest] = held[max(held)]
    return {"timestamp": record["timestamp"]}


def _ports(double: Double, parts: list[str], body: Any) -> Doc:
    product = double.find("dataProduct", [parts[1]], include="")
    if parts[2] == "portsView":
        view: Doc = {"entity": {"id": product["id"], "type": "dataProduct"}}
        for side in _SIDES:
            ids = double.ports.get((product["id"], side), ())
            # Source: whole entities, none that is marked as deleted.
            known = (double.entities[id_] for id_ in ids if id_ in double.entities)
            shown = [each for each in known if not each.get("deleted")]
            view[side] = {"data": shown, "paging": {"total": len(shown)}}
        return view
    side, what = parts[2:]
    double.bodies.append(("ports", body))
    held = double.ports.setdefault((product["id"], side), {})
    other = double.ports.get((product["id"], _SIDES[side == _SIDES[0]]), {})
    failed = []
    for ref in body["assets"]:
        asset = double.entities.get(ref["id"])
        if asset is None:
            raise Refused(404, f"instance for {ref['id']} not found")
        owned = any(each["id"] == product["id"] for each in asset.get("dataProducts", ()))
        if what == "remove":
            held.pop(ref["id"], None)
        elif ref["id"] in other:
            failed.append({"request": ref, "message": "is already part of other ports"})
        elif side == "outputPorts" and not owned:
            failed.append({"request": ref, "message": "must belong to the data product"})
        else:
            held[ref["id"]] = None
    return {"status": "success" if not failed else "partialSuccess", "failedRequest": failed}
