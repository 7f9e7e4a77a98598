"""`mesh new`: a domain or a product from the template."""

from __future__ import annotations

import click

from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.errors import shown


@click.group(short_help="A new domain, or a new product in one.")
def new() -> None:
    """Start something from the template."""


@new.command("domain", short_help="A new domain folder with its products.")
@click.argument("name")
@click.option("--kind", type=click.Choice(["source-aligned", "aggregate", "consumer-aligned"]), prompt=True)
@click.option("--team", prompt=True, help="Who owns it.")
@click.option("--steward", prompt=True, help="Who answers for its data.")
@click.option("--events", prompt=True, default="order_created", help="Which events it sends, or none.")
@click.option("--city", help="Where the site is.")
@click.option("--country", help="ISO 3166, two letters.")
@click.option("--time-zone", help="IANA name.")
@click.option("--no-input", is_flag=True, help="Ask nothing.")
@format_option
def domain(
    name: str,
    kind: str,
    team: str,
    steward: str,
    events: str,
    city: str | None,
    country: str | None,
    time_zone: str | None,
    no_input: bool,
    output_format: str,
) -> None:
    """Render domains/NAME. It is valid and tested as it stands; its contracts are then the team's to change."""
    from mesh_platform.scaffold import new_domain

    settings = read_settings()
    site = {"city": city, "country": country, "time_zone": time_zone}
    folder = new_domain(
        settings.root,
        name,
        kind=kind,
        team=team,
        steward=steward,
        events=events,
        **{key: value for key, value in site.items() if value is not None},
    )
    where = shown(folder, settings.root)
    if output_format == "json":
        write_json({"domain": name, "folder": where})
        return
    click.echo(f"{where} is there. Next:")
    for step in (f"pytest {where}", f"mesh run --domain {name}", f"$EDITOR {where}/contracts/*.odcs.yaml"):
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
