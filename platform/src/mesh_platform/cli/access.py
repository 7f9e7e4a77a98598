"""`mesh grants`: who may read and write what, and the servers that enforce it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mesh_platform.cli.output import read_settings, write_json
from mesh_platform.cli.text_table import write_table
from mesh_platform.errors import UsageError
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.text import shortened

if TYPE_CHECKING:
    from mesh_platform.access.rights import Right

_SHOWN = 60


@click.command(short_help="Show who may read and write what, and make servers enforce it.")
@click.option("--check", "mode", flag_value="check", help="Compare the servers with it; exit with 1 if any differs.")
@click.option("--apply", "mode", flag_value="apply", help="Make the servers enforce it.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "user-policies", "bucket-policy"]),
    default="text",
    help="text: for people; json: for programs; user-policies, bucket-policy: for other S3 stores, in AWS's form.",
)
def grants(mode: str | None, output_format: str) -> None:
    """Show the rights of each domain: its own queues and tables, and the published tables of others that its models
    read and its contracts refer to. Nothing else is granted, and nothing is written down: a model that reads a table
    is the request, its review the grant.

    \b
    mesh grants
    mesh grants --check
    mesh grants --apply

    MESH_RABBITMQ_ADMIN_URL, MESH_CATALOG_ADMIN_URL and MESH_S3_ADMIN_URL name the servers. `--apply` makes a user for
    each domain and one for the platform (`mesh`), creates queues and namespaces, and removes users and rights that
    are not derived. The secrets are in credentials/<domain>.env in the state folder. After a stop, the next call does
    what is left.
    """
    from mesh_platform.access.object_store import bucket_policy, user_policy
    from mesh_platform.access.rights import rights_of
    from mesh_platform.access.servers import servers_of, warehouse_of_settings
    from mesh_platform.cli.progress import progress_bar, tell
    from mesh_platform.sql.model import read_models

    if mode and output_format not in ("text", "json"):
        raise UsageError(f"--format {output_format}: prints documents alone. Leave it out with --{mode}.")
    settings = read_settings()
    mesh = load_remembered(settings)
    rights = rights_of(mesh, read_models(mesh))
    if output_format == "bucket-policy":
        write_json(bucket_policy([*mesh.domains], rights, warehouse_of_settings(settings)))
        return
    if output_format == "user-policies":
        write_json({domain: user_policy(domain, rights, warehouse_of_settings(settings)) for domain in mesh.domains})
        return
    if mode is None:
        if output_format == "json":
            write_json([asdict(right) for right in rights])
        else:
            write_table(_summary(rights))
        return
    servers = servers_of(settings, mesh, rights)
    steps = []
    for server in servers:
        planned = [*server.plan()]
        steps += planned
        if mode == "apply":
            with progress_bar("grant", len(planned), "step") as advance:
                for step in planned:
                    server.apply(step)
                    advance(1)
    rows = [asdict(step) for step in steps]
    if output_format == "json":
        write_json(rows)
    elif rows:
        write_table([{**row, "was": _short(row["was"]), "now": _short(row["now"])} for row in rows])
    if not rows:
        tell("The servers enforce the rights of the mesh.")
    if mode == "check" and rows:
        sys.exit(1)


def _summary(rights: Sequence[Right]) -> list[dict[str, str]]:
    """One row for all that is a domain's own of a kind, and one for each table of others, with all its reasons."""
    from mesh_platform.access.rights import OWN

    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for right in rights:
        own = right.reason == OWN
        name = f"{right.domain}.*" if own else right.name
        row = found.setdefault(
            (right.domain, right.resource, name),
            {"domain": right.domain, "resource": right.resource, "name": name, "access": "", "reason": right.reason},
        )
        if right.access not in row["access"]:
            row["access"] = " ".join(filter(None, [row["access"], right.access]))
    return [*found.values()]


def _short(value: object) -> str | None:
    return None if value is None else shortened(str(value), _SHOWN)
