"""`mesh new`, `mesh template`: domains and products from the template, and how far domains have drifted from it."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.domain import load_mesh
from mesh_platform.errors import shown


@click.group(short_help="A new domain, or a new product in one.")
def new() -> None:
    """Start something from the template."""


@new.command("domain", short_help="A new domain folder with its products.")
@click.argument("name")
@click.option("--kind", help="source-aligned, aggregate or consumer-aligned.  [default: source-aligned]")
@click.option("--team", help="Who owns it.")
@click.option("--steward", help="Who answers for its data.")
@click.option("--events", help="Which events it sends, with commas, or none.")
@click.option("--contact", help="Where the team is reached.  [default: from the domain's name]")
@click.option("--on-call", help="Where to call at night.  [default: from the domain's name]")
@click.option("--city", help="Where the site is.")
@click.option("--country", help="ISO 3166, two letters.")
@click.option("--time-zone", help="IANA name.")
@click.option("--currency", help="ISO 4217, three letters.")
@click.option("--opened-on", help="First day of business, YYYY-MM-DD.")
@click.option("--no-input", is_flag=True, help="Ask nothing; what is not given is as the template proposes.")
@format_option
def domain(name: str, no_input: bool, output_format: str, **given: str | None) -> None:
    """Render domains/NAME. It is valid and tested as it stands; its contracts are then the team's to change."""
    from mesh_platform.scaffold import new_domain, propose_answers

    settings = read_settings()
    for key in () if no_input else ("kind", "team", "steward", "events"):
        # What is proposed for one follows from those before it.
        proposed = propose_answers(settings.root, name, given)[key]
        given[key] = given[key] or click.prompt(key.capitalize(), default=proposed)
    answers = propose_answers(settings.root, name, given)
    where = shown(new_domain(settings.root, answers), settings.root)
    if output_format == "json":
        write_json({"domain": name, "folder": where})
        return
    click.echo(f"{where} is there. Next:")
    steps = [f"pytest {where}", f"$EDITOR {where}/domain.yaml"]
    if answers["events"] != "none":
        steps += [f"$EDITOR {where}/contracts/*.odcs.yaml", f"mesh run --domain {name}"]
    for step in steps:
        click.echo(f"  {step}")


@new.command("product", short_help="A new product in a domain.")
@click.argument("domain_name", metavar="DOMAIN")
@click.argument("line", metavar="EVENT")
@format_option
def product(domain_name: str, line: str, output_format: str) -> None:
    """Render the contract, producer, model and tests of EVENT into DOMAIN."""
    from mesh_platform.scaffold import new_product

    settings = read_settings()
    files = [shown(path, settings.root) for path in new_product(settings.root, domain_name, line)]
    if output_format == "json":
        write_json({"domain": domain_name, "files": files})
        return
    for path in files:
        click.echo(path)
    click.echo(f"Next:\n  pytest domains/{domain_name}")


@click.group(short_help="Whether domains are as the template renders them today.")
def template() -> None:
    """The files of a domain that the template owns."""


@template.command("status")
@format_option
def template_status(output_format: str) -> None:
    """The managed files that differ from the template; exit code 1 where there are any."""
    from mesh_platform.scaffold import template_drift

    problems = template_drift(load_mesh(read_settings().root))
    if output_format == "json":
        write_json([asdict(problem) for problem in problems])
    else:
        click.echo("\n".join(map(str, problems)) or "Every domain is as the template has it.")
    sys.exit(1 if problems else 0)


@template.command("sync")
@click.argument("name", metavar="DOMAIN")
@format_option
def template_sync(name: str, output_format: str) -> None:
    """Write a domain's managed files as the template has them."""
    from mesh_platform.scaffold import sync_template

    settings = read_settings()
    changed = [shown(path, settings.root) for path in sync_template(load_mesh(settings.root), name)]
    if output_format == "json":
        write_json({"domain": name, "changed": changed})
    else:
        click.echo("\n".join(changed) or f"{name} is as the template has it.")
