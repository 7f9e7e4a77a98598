"""Compare the dashboards of the repository with those of a Superset, and make one as the other is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mesh_platform.dashboards.canonical import files_of, without_file
from mesh_platform.dashboards.datasets import DatasetColumns, dataset_columns
from mesh_platform.dashboards.superset_assets import MARK, dashboard_uuid, superset_assets
from mesh_platform.dashboards.superset_server import Kind, Server
from mesh_platform.errors import AttentionError
from mesh_platform.files import write_whole
from mesh_platform.mesh.mesh import Mesh

Assets = Mapping[str, Mapping[str, Any]]
# The sorted roles of each dashboard, by UUID.
Roles = Mapping[str, list[str]]
_KINDS: tuple[tuple[str, Kind], ...] = (("dashboards/", "dashboard"), ("charts/", "chart"), ("datasets/", "dataset"))


@dataclass(frozen=True)
class Step:
    """What `apply` does to one thing. `name` is `<domain>.<dashboard>[.<part>]`, of a deleted one its title."""

    action: Literal["create", "change", "delete"]
    kind: Kind
    name: str
    uuid: str


def plan(mesh: Mesh, there: Assets, roles: Roles) -> list[Step]:
    """Return what differs from the repository in what a server exports (`there`), and in the `roles` of dashboards.

    What the mesh has deployed and its files no longer have is deleted; what people made on the server is left alone.
    """
    columns = dataset_columns(mesh, mesh.dashboards.values())
    return _plan(mesh, superset_assets(mesh, columns), there, roles, columns)


def _plan(mesh: Mesh, wanted: Assets, there: Assets, roles: Roles, columns: DatasetColumns) -> list[Step]:
    here, exported = files_of(mesh, wanted, columns), files_of(mesh, _owned(there), columns)
    known = {str(each.get("uuid")): each for each in there.values()}
    steps: list[Step] = []
    for path, asset in wanted.items():
        uuid, kind = asset["uuid"], _kind(path)
        name = path.rpartition("/")[2].removesuffix(".yaml")
        if uuid not in known:
            steps.append(Step("create", kind, name, uuid))
            continue
        files = _files_behind(mesh, kind, name)
        if (
            [here.get(file) for file in files] != [exported.get(file) for file in files]
            or not _is_certified(asset, known[uuid])
            or (kind == "dashboard" and roles.get(uuid, []) != sorted(mesh.dashboards[name].file.roles))
        ):
            steps.append(Step("change", kind, name, uuid))
    uuids = {asset["uuid"] for asset in wanted.values()}
    for path, found in _owned(there).items():
        if _mark(found).startswith(MARK) and found["uuid"] not in uuids:
            title = found.get("slice_name") or found.get("dashboard_title") or found["table_name"]
            steps.append(Step("delete", _kind(path), title, found["uuid"]))
    return steps


def apply(mesh: Mesh, server: Server) -> list[Step]:
    """Make the server as the files are, and return what was done."""
    columns = dataset_columns(mesh, mesh.dashboards.values())
    wanted = superset_assets(mesh, columns)
    steps = _plan(mesh, wanted, server.export_assets(), server.dashboard_roles(), columns)
    known = _known_roles(mesh, server)
    if any(step.action != "delete" for step in steps):
        # All of it: an import replaces the links of a dashboard to its charts.
        server.import_assets(wanted)
        _give(mesh, server, known)
    # A dashboard before its charts, and these before what they read.
    for _, kind in _KINDS:
        gone = [step for step in steps if step.action == "delete" and step.kind == kind]
        numbers = server.numbers(kind) if gone else {}
        for step in gone:
            if step.uuid in numbers:
                server.delete(kind, numbers[step.uuid])
    return steps


def _known_roles(mesh: Mesh, server: Server) -> dict[str, int]:
    known = server.roles()
    for dashboard in mesh.dashboards.values():
        for role in dashboard.file.roles:
            if role not in known:
                where = f"{dashboard.folder}/dashboard.yaml is for {role}, a role that {server.url} lacks."
                raise AttentionError(f"{where} Make it there, as 'make superset' does.")
    return known


def _give(mesh: Mesh, server: Server, known: Mapping[str, int]) -> None:
    """Give each dashboard to its roles: an import leaves them as they are."""
    there, numbers = server.dashboard_roles(), server.numbers("dashboard")
    for dashboard in mesh.dashboards.values():
        uuid, wanted = dashboard_uuid(dashboard), sorted(dashboard.file.roles)
        if there.get(uuid, []) != wanted:
            server.set_dashboard_roles(numbers[uuid], [known[role] for role in wanted])


def pull(mesh: Mesh, there: Assets) -> dict[str, Literal["written", "removed"]]:
    """Write what was changed on the server into the files of the repository, and return what was done, by path.

    Raises AttentionError, and writes nothing, if the server has what no file can say.
    """
    columns = dataset_columns(mesh, mesh.dashboards.values())
    if lost := without_file(mesh, _owned(there), columns):
        listed = "\n".join(lost)
        fix = "Undo this in Superset, or copy the dashboard there and change the copy; then pull."
        raise AttentionError(f"{listed}\nNo file of a dashboard can say this, so nothing was written. {fix}")
    here, exported = files_of(mesh, superset_assets(mesh, columns), columns), files_of(mesh, _owned(there), columns)
    changed = {path: text for path, text in exported.items() if here.get(path) != text}
    write_texts(mesh, changed)
    done: dict[str, Literal["written", "removed"]] = dict.fromkeys(changed, "written")
    for path in here.keys() - exported.keys():
        # A dashboard that the server lacks altogether was never deployed there.
        if any(path.startswith(f"{Path(each).parent}/") for each in exported if each.endswith("/dashboard.yaml")):
            (mesh.root / path).unlink()
            done[path] = "removed"
    return dict(sorted(done.items()))


def uncanonical(mesh: Mesh) -> dict[str, str]:
    """Return the files that are not written as `pull` would write them, with the text that it would write."""
    columns = dataset_columns(mesh, mesh.dashboards.values())
    texts = files_of(mesh, superset_assets(mesh, columns), columns)
    return {path: text for path, text in texts.items() if (mesh.root / path).read_text(encoding="utf-8") != text}


def write_texts(mesh: Mesh, texts: Mapping[str, str]) -> None:
    """Write files of the repository, which everybody may read."""
    for path, text in texts.items():
        write_whole(mesh.root / path, text.encode())
        (mesh.root / path).chmod(0o644)


def _owned(there: Assets) -> dict[str, Mapping[str, Any]]:
    return {path: each for path, each in there.items() if path.startswith(("charts/", "dashboards/", "datasets/"))}


def _kind(path: str) -> Kind:
    return next(kind for folder, kind in _KINDS if path.startswith(folder))


def _files_behind(mesh: Mesh, kind: Kind, name: str) -> list[str]:
    """Return the files that an asset is made of."""
    identifier = name if kind == "dashboard" else name.rpartition(".")[0]
    folder, own = mesh.dashboards[identifier].folder, name.rpartition(".")[2]
    if kind == "dashboard":
        return [f"{folder}/dashboard.yaml"]
    return (
        [f"{folder}/charts/{own}.yaml"]
        if kind == "chart"
        else [f"{folder}/datasets/{own}.{e}" for e in ("yaml", "sql")]
    )


def _mark(asset: Mapping[str, Any]) -> str:
    """Return what an asset says of where it is from."""
    if "table_name" in asset:
        return str(((asset.get("extra") or {}).get("certification") or {}).get("details") or "")
    return str(asset.get("certification_details") or "")


def _is_certified(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    who = (wanted.get("certified_by"), found.get("certified_by"))
    return _mark(wanted) == _mark(found) and who[0] == who[1]
