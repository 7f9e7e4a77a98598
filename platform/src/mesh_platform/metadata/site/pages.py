"""The pages of the site: the path, the template and the values of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesh_platform.mesh.schedule import CRON
from mesh_platform.metadata.graph import Node
from mesh_platform.metadata.pipelines import dag_id, pipelines_of
from mesh_platform.metadata.site.facts import Facts
from mesh_platform.metadata.site.paths import FOLDERS, listing, page
from mesh_platform.metadata.site.whole import Outline
from mesh_platform.metadata.site.wording import moment
from mesh_platform.text import shortened

# Entries of one page: a browser must not hold more than 2,000 nodes of any.
ENTRIES = 150
COLUMNS = 60
EDGES = 200
_FEW = 12
_DESCRIBED = 110


@dataclass(frozen=True)
class Page:
    """One file of the site. Without a template, `values` is the text itself."""

    path: str
    template: str | None
    values: Any


def product_pages(facts: Facts, product: str) -> Iterator[Page]:
    """Yield the pages of a product."""
    yield from _product(facts, facts.product(facts.mesh.contracts[product]))


def shared_pages(facts: Facts) -> Iterator[Page]:
    """Yield all pages of the site but those of products."""
    yield from _index(facts)
    nodes = facts.graph.nodes.values()
    yield from _domains(facts, [node for node in nodes if node.kind == "domain"])
    yield from _interfaces(facts, [node for node in nodes if node.kind == "interface"])
    yield from _terms(facts, [node for node in nodes if node.kind == "term"])
    yield from _dashboards(facts)
    yield from _people(facts, [node for node in nodes if node.kind in ("team", "person")])
    yield from _releases(facts)
    yield Page("search.js", None, _search(facts))
    yield Page("columns.js", None, _search_columns(facts))


def _page(path: str, template: str, title: str, **values: Any) -> Page:
    return Page(path, template, {"root": "../" * path.count("/"), "title": title, "here": path, **values})


def _parts(path_of: Any, entries: Sequence[Any], size: int) -> Iterator[tuple[int, Sequence[Any], list[list[Any]]]]:
    """Yield (number, entries, links to all parts) of each part of a long list."""
    count = max(1, -(-len(entries) // size))
    links = [[number, path_of(number)] for number in range(1, count + 1)] if count > 1 else []
    for number in range(1, count + 1):
        yield number, entries[(number - 1) * size : number * size], links


def _index(facts: Facts) -> Iterator[Page]:
    nodes = facts.graph.nodes.values()
    attention = facts.attention()
    domains = [_domain_row(facts, node) for node in nodes if node.kind == "domain"]
    counts = {
        "domains": len(domains),
        "products": len(facts.whole.products),
        "columns": sum(len(product.columns) for product in facts.whole.products.values()),
        "terms": sum(node.kind == "term" for node in nodes),
        "people": sum(node.kind in ("team", "person") for node in nodes),
        "interfaces": sum(node.kind == "interface" for node in nodes),
    }
    lake = facts.lake
    totals = {
        kind: sum(item["kind"] == kind for item in attention)
        for kind in dict.fromkeys(item["kind"] for item in attention)
    }
    values = {
        "counts": counts,
        "lake": {"at": moment(lake.now), "tables": len(lake.status), "releases": len(lake.releases)}
        if lake
        else None,
        "totals": totals,
        "attention": _spread(attention),
        "attention_in_all": len(attention),
        "domains": domains[:ENTRIES],
    }
    yield _page("index.html", "index.html", "Data catalog", **values)
    for number, entries, parts in _parts(lambda n: listing("attention", n), attention, ENTRIES):
        path = listing("attention", number)
        yield _page(path, "attention.html", "What needs attention", entries=entries, parts=parts, number=number,
                    totals=totals, read=lake is not None)  # fmt: skip
    products = [facts.summary(product) for product in facts.whole.products.values()]
    yield from _list(facts, "products", "Products", products)
    yield from _list(facts, "domains", "Domains", domains)


def _spread(attention: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return a few items, of each kind some: many late tables must not hide the one that fails."""
    kinds: dict[str, int] = {}
    found = []
    for item in attention:
        kinds[item["kind"]] = kinds.get(item["kind"], 0) + 1
        if kinds[item["kind"]] <= 4:
            found.append(item)
    return found[:_FEW]


def _list(facts: Facts, name: str, title: str, rows: Sequence[Any]) -> Iterator[Page]:
    for number, entries, parts in _parts(lambda n: listing(name, n), rows, ENTRIES):
        yield _page(listing(name, number), f"{name}.html", title, entries=entries, parts=parts, number=number,
                    in_all=len(rows), read=facts.lake is not None, is_large=facts.is_large)  # fmt: skip


def _product(facts: Facts, product: dict[str, Any]) -> Iterator[Page]:
    name, columns = product["name"], product["columns"]
    is_cut = any(column[f"{way}_in_all"] > len(column[way] or ()) for column in columns for way in ("from", "to"))
    edges = facts.all_edges(name) if is_cut or len(product["rows_by"]) > EDGES else None
    all_edges = page("product", name, part="edges") if edges is not None else None
    for number, entries, parts in _parts(lambda n: page("product", name, n), columns, COLUMNS):
        own = page("product", name, number)
        values = {"product": {**product, "columns": entries}, "columns_in_all": len(columns), "parts": parts,
                  "number": number, "all_edges": all_edges}  # fmt: skip
        if number > 1:
            # What is said once is on the first part.
            values["product"] = {key: product[key] for key in ("name", "title", "domain")} | {"columns": entries}
        template = "product.html" if number == 1 else "product_columns.html"
        yield _page(own, template, name, **values)
    if edges is not None:
        for number, entries, parts in _parts(lambda n: page("product", name, n, "edges"), edges, EDGES):
            yield _page(page("product", name, number, "edges"), "edges.html", f"All column edges of {name}",
                        name=name, up=page("product", name), entries=entries, parts=parts, number=number,
                        in_all=len(edges))  # fmt: skip


def _domain_row(facts: Facts, node: Node) -> dict[str, Any]:
    domain = facts.mesh.domains[node.name]
    return {
        "name": node.name,
        "href": page("domain", node.name),
        "kind": domain.kind,
        "description": domain.description,
        "products": len(facts.whole.of_domain.get(node.name, ())),
        "team": [domain.owners.team, page("team", domain.owners.team)],
    }


def _domains(facts: Facts, nodes: Sequence[Node]) -> Iterator[Page]:
    for node in nodes:
        domain = facts.mesh.domains[node.name]
        products = facts.whole.of_domain.get(node.name, ())
        rows = [facts.summary(product) for product in products]
        dags = {kind for product in products for kind in product.dags}
        more = {
            "domain": _domain_row(facts, node),
            "owners": facts.owners(domain),
            "site": domain.site.model_dump(mode="json") if domain.site else None,
            "terms": [[term.name, page("term", term.name)] for term in facts.graph.with_link("part of", node.id)
                      if term.kind == "term"][:ENTRIES],
            "interfaces": [[each, page("interface", each)] for each in domain.interfaces],
            "dashboards": [[each.file.dashboard_title, page("dashboard", each.identifier)]
                           for each in domain.dashboards.values()],
            "dags": [[dag_id(domain, kind), CRON.get(kind)] for kind in pipelines_of((), ()) if kind in dags],
        }  # fmt: skip
        for number, entries, parts in _parts(lambda n, name=node.name: page("domain", name, n), rows, ENTRIES):
            yield _page(page("domain", node.name, number), "domain.html", node.name, entries=entries, parts=parts,
                        number=number, in_all=len(rows), read=facts.lake is not None, **more)  # fmt: skip


def _interfaces(facts: Facts, nodes: Sequence[Node]) -> Iterator[Page]:
    implementing: dict[str | None, list[Outline]] = {}
    for product in facts.whole.products.values():
        implementing.setdefault(product.implements, []).append(product)
    for node in nodes:
        contract = facts.mesh.interfaces[node.name]
        view = next(each for each in facts.graph.with_link("part of", node.id) if each.kind == "view")
        members = [facts.summary(member) for member in implementing.get(node.name, ())]
        columns = [facts.column(view.name, field, ()) for field in contract.table.fields]
        more = {
            "interface": {"name": node.name, "version": contract.version, "description": contract.description,
                          "domain": contract.domain, "contract": contract.path, "view": view.name},
            "lineage": facts.lineage(view.name),
            "columns": columns[:COLUMNS],
            "columns_in_all": len(columns),
            "read": facts.lake is not None,
        }  # fmt: skip
        for number, entries, parts in _parts(lambda n, name=node.name: page("interface", name, n), members, _FEW * 5):
            yield _page(page("interface", node.name, number), "interface.html", node.name, entries=entries,
                        parts=parts, number=number, in_all=len(members), **more)  # fmt: skip
    rows = [{"name": node.name, "href": page("interface", node.name), "description": node.description,
             "members": len(implementing.get(node.name, ()))} for node in nodes]  # fmt: skip
    yield from _list(facts, "interfaces", "Interfaces", rows)


def _terms(facts: Facts, nodes: Sequence[Node]) -> Iterator[Page]:
    rows = []
    for node in nodes:
        users = [[name, column, page("product", name), description]
                 for name, column, description in facts.whole.uses.get(node.name, ())]  # fmt: skip
        rows.append({"name": node.name, "href": page("term", node.name), "definition": node.description,
                     "unit": node.facts.get("unit"), "kpi": bool(node.facts.get("kpi")),
                     "columns": len(users)})  # fmt: skip
        domain = node.name.partition(".")[0]
        for number, entries, parts in _parts(lambda n, name=node.name: page("term", name, n), users, ENTRIES):
            yield _page(page("term", node.name, number), "term.html", node.name, term=rows[-1], domain=domain,
                        instead_of=[*node.facts.get("instead_of", ())], entries=entries, parts=parts, number=number,
                        in_all=len(users))  # fmt: skip
    yield from _list(facts, "terms", "Terms", rows)


def _dashboards(facts: Facts) -> Iterator[Page]:
    rows = [facts.dashboard(each) for each in facts.mesh.dashboards.values()]
    for row in rows:
        yield _page(row["href"], "dashboard.html", row["title"], dashboard=row)
    yield from _list(facts, "dashboards", "Dashboards", rows)


def _people(facts: Facts, nodes: Sequence[Node]) -> Iterator[Page]:
    rows = []
    for node in nodes:
        own = facts.graph.with_link("owned by" if node.kind == "team" else "steward", node.id)
        domains = [_domain_row(facts, domain) for domain in own]
        products = [each for domain in own for each in facts.whole.of_domain.get(domain.name, ())]
        rows.append({"name": node.name, "kind": node.kind, "href": page(node.kind, node.name),
                     "domains": [[each["name"], each["href"]] for each in domains[:_FEW]],
                     "products": len(products)})  # fmt: skip
        contacts = [facts.owners(facts.mesh.domains[domain.name]) for domain in own[:1]]
        listed = [] if facts.is_large else [facts.summary(each) for each in products]
        for number, entries, parts in _parts(
            lambda n, kind=node.kind, name=node.name: page(kind, name, n), listed, ENTRIES
        ):
            yield _page(page(node.kind, node.name, number), "person.html", node.name, person=rows[-1],
                        domains=domains[:ENTRIES], contacts=contacts, entries=entries, parts=parts,
                        number=number, in_all=len(listed), read=facts.lake is not None,
                        is_large=facts.is_large)  # fmt: skip
    yield from _list(facts, "people", "People and teams", rows)


def _releases(facts: Facts) -> Iterator[Page]:
    releases = facts.lake.releases if facts.lake else []
    rows = []
    for release in releases:
        tables = [[name, str(snapshot), facts.whole.place(name)] for name, snapshot in sorted(release.tables.items())]
        rows.append({"name": release.name, "href": page("release", release.name), "at": moment(release.released_at),
                     "tables": len(tables)})  # fmt: skip
        for number, entries, parts in _parts(lambda n, name=release.name: page("release", name, n), tables, ENTRIES):
            yield _page(page("release", release.name, number), "release.html", f"Release {release.name}",
                        release=rows[-1], entries=entries, parts=parts, number=number)  # fmt: skip
    yield from _list(facts, "releases", "Releases", rows)


def _search(facts: Facts) -> str:
    """Return the script with what is searched first: [kind, name, page, description, other words]."""
    graph, entries = facts.graph, []
    for name, product in facts.whole.products.items():
        team = facts.mesh.domains[product.domain].owners.team
        words = " ".join(filter(None, (team, product.level, product.implements)))
        entries.append(["product", name, _unlike("product", name), shortened(product.description, _DESCRIBED), words])
    for node in graph.nodes.values():
        if node.kind in ("domain", "interface", "term", "team", "person"):
            words = " ".join(node.facts.get("instead_of", ()))
            description = shortened(node.description, _DESCRIBED)
            entries.append([node.kind, node.name, _unlike(node.kind, node.name), description, words])
        if node.kind == "dashboard":
            titles = [node.facts["title"], *(each.description for each in graph.with_link("part of", node.id))]
            description = shortened(node.description, _DESCRIBED)
            entries.append([node.kind, node.name, _unlike(node.kind, node.name), description, " ".join(titles)])
    return f"CATALOG.entries({_script(entries)});\n"


def _search_columns(facts: Facts) -> str:
    """Return the script with the columns of each product: [name, page, its columns, those that are personal]."""
    found = [
        [name, _unlike("product", name), " ".join(product.columns), " ".join(product.personal)]
        for name, product in facts.whole.products.items()
    ]
    return f"CATALOG.columns({_script(found)});\n"


def _unlike(kind: str, name: str) -> str:
    """Return the page of a thing, or nothing where the script can tell it from the name."""
    path = page(kind, name)
    return "" if path == f"{FOLDERS[kind]}/{name}.html" else path


def _script(value: Any) -> str:
    """Return a value as JavaScript that stays data wherever it is put."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
