"""`mesh new`, `mesh template`: create domains and products from the template, and update domains to it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mesh_platform.cli.completion import complete, domains
from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.cli.text_table import write_table
from mesh_platform.errors import UsageError
from mesh_platform.text import shown

if TYPE_CHECKING:
    from mesh_platform.scaffold.sync import Outcome


@click.group(short_help="Create a domain, or a product in a domain.")
def new() -> None:
    """Create a domain or a product from the template."""


@new.command("domain", short_help="Create a domain with its products.")
@click.argument("name", required=False)
@click.option("--kind", help="source-aligned, aggregate or consumer-aligned.  [default: source-aligned]")
@click.option("--team", help="The team that owns it.")
@click.option("--steward", help="The person who answers for its data.")
@click.option("--events", help="The events it sends, separated by commas, or none.")
@click.option("--contact", help="How to reach the team.  [default: from the domain's name]")
@click.option("--on-call", help="Whom to call at night.  [default: from the domain's name]")
@click.option("--city", help="The city of the site.")
@click.option("--country", help="Its country: ISO 3166, two letters.")
@click.option("--time-zone", help="Its time zone: an IANA name.")
@click.option("--currency", help="Its currency: ISO 4217, three letters.")
@click.option("--opened-on", help="Its first day of business, YYYY-MM-DD.")
@click.option("--no-input", is_flag=True, help="Ask nothing; use the template's proposals for what is not given.")
@format_option
def domain(name: str | None, no_input: bool, output_format: str, **given: str | None) -> None:
    """Create domains/NAME from the template. It is valid and tested at once; the team then changes its contracts.

    The command asks for what the options do not give. An event is one of `order_created` (proposed),
    `order_returned`, `inventory_movement`, `inventory_restock_event`, `order_error_event` and `dispatch_log_event`,
    the six of a warehouse. If answers are wrong, all of them are reported together and nothing is written.
    """
    from mesh_platform.scaffold.new import check_answers, keep_template, new_domain, propose_answers

    root = read_settings().root
    if not name and no_input:
        raise UsageError("The domain has no name. Give one: mesh new domain NAME, such as central_warehouse.")
    name = name or click.prompt("Name, such as central_warehouse")
    # Report wrong answers before prompting for others.
    check_answers(root, propose_answers(root, name, given))
    for key in () if no_input else ("kind", "team", "steward", "events"):
        # The default of an answer depends on the earlier ones.
        proposed = propose_answers(root, name, given)[key]
        given[key] = given[key] or click.prompt(key.capitalize(), default=proposed)
    answers = propose_answers(root, name, given)
    where = shown(new_domain(root, answers), root)
    if note := keep_template(root):
        click.echo(note, err=True)
    if output_format == "json":
        write_json({"domain": name, "folder": where})
        return
    click.echo(f"{where} is there. Next:")
    steps = [f"$EDITOR {where}/README.md {where}/domain.yaml", f"pytest {where}", "mesh check --fix"]
    if answers["events"] != "none":
        steps = [f"$EDITOR {where}/contracts/*.odcs.yaml", *steps, f"mesh run --domain {name}"]
    for step in [*steps, f"git add {where} .github"]:
        click.echo(f"  {step}")


@new.command("product", short_help="Create a product in a domain.")
@click.argument("domain_name", metavar="DOMAIN", shell_complete=complete(domains))
@click.argument("line", metavar="EVENT", required=False)
@click.option(
    "--fields", help="The fields of an event of your own: name:type, separated by commas; ? marks optional."
)
@format_option
def product(domain_name: str, line: str | None, fields: str | None, output_format: str) -> None:
    """Add the contract, producer, SQL, sample and tests of one more EVENT to DOMAIN.

    \b
    mesh new product east_warehouse order_returned
    mesh new product east_warehouse pallet_scan --fields 'id:string,at:timestamptz,weight_kg:decimal(8,3)?'

    An event is one of the six of a warehouse, or one of your own with `--fields`. Types are those of contracts:
    string, int, long, double, boolean, date, timestamp, timestamptz, decimal(p,s). A field with `?` may be missing.
    The first timestamptz without `?` says when the event happened.

    The product of an event of your own has its name. Its table has the names that the rules ask for: `at` is
    published as `at_ts`. A field that looks like personal data is classified as such. If something is wrong, all of
    it is reported together, and nothing is written.
    """
    from mesh_platform.scaffold.new import list_lines, new_own_product, new_product

    settings = read_settings()
    if not line:
        raise UsageError(
            f"Which event? There is a template for {', '.join(list_lines(settings.root))}. One of your own takes "
            "--fields, such as --fields id:string,at:timestamptz."
        )
    if fields is None:
        files = [shown(path, settings.root) for path in new_product(settings.root, domain_name, line)]
        if output_format == "json":
            write_json({"domain": domain_name, "files": files})
            return
        (contract,) = (path for path in files if "/contracts/" in path)
        steps = [f"mesh run --domain {domain_name}"]
    else:
        from mesh_platform.governance.rules.privacy import personal_sign

        own = new_own_product(
            settings.root, domain_name, line, fields, lambda name: bool(personal_sign(name)), _broken_rules
        )
        files = [f"domains/{domain_name}/{name}" for name in own.files]
        renamed = {field.name: field.published for field in own.fields if field.published != field.name}
        if output_format == "json":
            written = {"domain": domain_name, "files": files, "product": own.identifier, "event": own.event}
            write_json({**written, "published_as": renamed, "personal": sorted(own.personal)})
            return
        contract = f"domains/{domain_name}/{own.contract}"
        steps = [
            f"mesh produce {own.identifier} burst --count 100",
            f"mesh ingest {domain_name} --until-empty",
            f"mesh build {own.identifier}",
            f'mesh query "select * from {own.identifier} limit 3"',
        ]
    for path in files:
        click.echo(path)
    if fields is not None and renamed:
        click.echo(f"Published as: {', '.join(f'{name} as {other}' for name, other in renamed.items())}.")
    if fields is not None and own.personal:
        click.echo(f"Classified as personal data: {', '.join(sorted(own.personal))}.")
    steps = [f"$EDITOR {contract}", f"pytest domains/{domain_name}", *steps]
    click.echo("\n  ".join(["Next:", *steps, f"git add domains/{domain_name}"]))


# The rules of what a contract says by itself. The others need the whole mesh, and are not about a new product.
_OF_CONTRACTS = ("described", "examples", "name-column", "name-event", "name-product", "one-word", "pii-classified")


def _broken_rules(root: Path, domain_name: str) -> list[str]:
    """What the rules say against the contracts of a domain, in the mesh at `root`."""
    from datetime import UTC, datetime

    from mesh_platform.governance.check import check, open_scope

    found = check(open_scope(root, datetime.now(UTC).date()), _OF_CONTRACTS)
    return [
        f"{problem.message} {problem.fix}"
        for problem in found
        if problem.severity == "error" and problem.path.startswith(f"domains/{domain_name}/contracts/")
    ]


@click.group(short_help="Keep domains up to date with the template.")
def template() -> None:
    """Compare domains with the template that they come from, and merge its changes."""


@template.command("status", short_help="Show each domain's template version, drift and conflicts.")
@click.argument("name", metavar="[DOMAIN]", required=False, shell_complete=complete(domains))
@format_option
def template_status(name: str | None, output_format: str) -> None:
    """Show for each domain its version of the template, which files that the template owns it changed (`drifted`),
    which it took over on purpose (`detached`), and which hold unresolved conflicts.

    Exit code 1: a domain is behind, has drifted, or holds conflicts.
    """
    from mesh_platform.scaffold.new import template_status as find_status
    from mesh_platform.scaffold.sync import find_folders
    from mesh_platform.scaffold.template_version import short

    root = read_settings().root
    found = find_status(root, find_folders(root, [name] if name else []))
    problems = [problem for status in found for problem in status.problems]
    if output_format == "json":
        ends = ("domain", "version", "state")
        write_json(
            [
                {key: getattr(status, key) for key in ends}
                | {key: _placed(status.domain, getattr(status, key)) for key in ("drifted", "detached", "conflicts")}
                for status in found
            ]
        )
    else:
        rows = [
            {
                "domain": status.domain,
                "version": short(status.version) if status.version else None,
                "state": status.state,
                "drifted": len(status.drifted),
                "detached": len(status.detached),
                "conflicts": len(status.conflicts),
            }
            for status in found
        ]
        write_table(rows)
        detached = [
            f"domains/{status.domain}/{path}: detached: {reason}"
            for status in found
            for path, reason in status.detached.items()
        ]
        notes = [f"{status.domain}: {status.note} It was compared with today's." for status in found if status.note]
        for line in [*detached, *notes, *map(str, problems)]:
            click.echo(line)
    sys.exit(1 if problems else 0)


@template.command("sync", short_help="Merge the template's changes into domains.")
@click.argument("name", metavar="[DOMAIN]", required=False, shell_complete=complete(domains))
@format_option
def template_sync(name: str | None, output_format: str) -> None:
    """Merge what changed in the template since the last sync into DOMAIN, or into all domains. The domain's own
    changes stay. Where both changed the same lines, the file holds both versions between git's conflict marks.

    JSON: `[{domain, from, to, changed, conflicts, kept, deleted}]`; `kept` gives the reason for each file.

    Exit code 1: there are conflicts.
    """
    from mesh_platform.scaffold.sync import sync_domains

    root = read_settings().root
    outcomes, note = sync_domains(root, [name] if name else [])
    if output_format == "json":
        write_json([_plain(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            _tell(outcome)
    if note:
        click.echo(note, err=True)
    sys.exit(1 if any(outcome.conflicts or outcome.unresolved for outcome in outcomes) else 0)


def _plain(outcome: Outcome) -> dict[str, object]:
    paths: dict[str, list[str] | dict[str, str]] = {
        "changed": outcome.changed,
        "conflicts": outcome.conflicts or outcome.unresolved,
        "kept": outcome.kept,
        "deleted": outcome.deleted,
    }
    ends = {"domain": outcome.domain, "from": outcome.came_from, "to": outcome.to}
    return ends | {key: _placed(outcome.domain, names) for key, names in paths.items()}


def _placed(domain: str, names: list[str] | dict[str, str]) -> object:
    """Convert paths in a domain's folder to paths in the repository."""
    if isinstance(names, dict):
        return {f"domains/{domain}/{name}": why for name, why in names.items()}
    return [f"domains/{domain}/{name}" for name in names]


def _tell(outcome: Outcome) -> None:
    from mesh_platform.scaffold.template_version import short

    place = f"domains/{outcome.domain}/"
    if outcome.unresolved:
        files = ", ".join(place + name for name in outcome.unresolved)
        click.echo(
            f"{outcome.domain}: nothing was done. Conflicts from before stand in {files}. Choose between their marks "
            "(<<<<<<<, =======, >>>>>>>), remove these, and sync again."
        )
        return
    if outcome.came_from == outcome.to:
        click.echo(f"{outcome.domain} is at today's template.")
    else:
        since = short(outcome.came_from) if outcome.came_from else "no template.yaml"
        click.echo(f"{outcome.domain}: {since} -> {short(outcome.to or '')}")
    if outcome.note:
        click.echo(f"  {outcome.note} Every difference is marked as a conflict.")
    for word, names in (("changed", outcome.changed), ("deleted", outcome.deleted), ("CONFLICT", outcome.conflicts)):
        for name in names:
            click.echo(f"  {word:<8}  {place}{name}")
    for name, why in outcome.kept.items():
        click.echo(f"  {'kept':<8}  {place}{name}  ({why})")
    if outcome.conflicts:
        click.echo(
            "  Where it says CONFLICT, both versions stand between marks: choose, remove the marks, then commit."
        )
