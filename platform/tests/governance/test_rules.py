"""Each rule finds the one fault of its own broken mesh, with its line, and nothing in the meshes of other rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from mesh_platform.governance.registry import all_rules

from tests.clean_mesh import CleanMesh, add_contract, add_domain, clean_mesh

SALES = "shop/contracts/sales.odcs.yaml"
FACT = "core/contracts/fact_sales.odcs.yaml"
KPI = "core/contracts/kpi_sales.odcs.yaml"
DIM = "core/contracts/dim_product.odcs.yaml"
OUTLOOK = "lab/contracts/outlook.odcs.yaml"
SQL = "lab/models/outlook.sql"

Break = Callable[[CleanMesh], object]


@pytest.fixture
def mesh(tmp_path: Path) -> CleanMesh:
    return clean_mesh(tmp_path)


def edit(name: str, change: Callable[[Any], object]) -> Break:
    return lambda mesh: mesh.edit(name, change)


def column(name: str, of: str, /, **words: object) -> Break:
    return lambda mesh: mesh.column(name, of, **words)


def write(name: str, text: str) -> Break:
    return lambda mesh: mesh.write(name, text)


def send_local_time(mesh: CleanMesh, read: str = "timezone('America/New_York', sold_ts)") -> None:
    """Events with local time, which the SQL reads without their envelopes."""

    def change(event: Any) -> None:
        (time,) = (each for each in event["properties"] if each["name"] == "sold_ts")
        time |= {"physicalType": "timestamp", "examples": ["2025-10-01T14:03:12"]}

    mesh.edit(SALES, lambda contract: change(contract["schema"][0]))
    sql = mesh.path("shop/models/sales.sql")
    sql.write_text(sql.read_text().replace("sold_ts", f"{read} as sold_ts"))


def rename(name: str, old: str, new: str, sql: str) -> Break:
    """Rename a published column, in its contract and in its SQL."""

    def change(mesh: CleanMesh) -> None:
        mesh.column(name, old, name=new)
        mesh.write(sql, mesh.path(sql).read_text().replace(old, new))

    return change


def claim(name: str, **levels: str) -> Break:
    custom = [{"property": f"mesh.{key}", "value": value} for key, value in levels.items()]
    return edit(name, lambda contract: contract["customProperties"].extend(custom))


def compose(*lines: str, without: str = "", others: str = "") -> Break:
    """A compose file with one service, which has these lines on top of what every service has."""
    usual = {"image": "rabbitmq:4.1.0@sha256:00", "healthcheck": "{test: [CMD, ping]}", "mem_limit": "1g"}
    given = {line.partition(":")[0] for line in lines}
    every = [f"{key}: {value}" for key, value in usual.items() if key not in given and key != without]
    return write(
        "/docker-compose.yml",
        "services:\n  broker:\n" + "".join(f"    {line}\n" for line in [*every, *lines]) + others,
    )


ONCE = """  setup: {image: "a:1@sha256:00", mem_limit: 1g, restart: "no"}
"""


def waiver(**words: str) -> Break:
    given = {"rule": "described", "file": "contracts/outlook.odcs.yaml", "owner": "Ada", "until": "2026-12-01"}
    given |= {"reason": "It is being renamed, see the plan.", **words}
    return write("lab/waivers.yaml", "waivers:\n  - {" + ", ".join(f'{k}: "{v}"' for k, v in given.items()) + "}\n")


def add_product(name: str, shapes: dict[str, dict[str, str]], sql: str, **promises: int) -> Break:
    """Add a product to the shop."""

    def change(mesh: CleanMesh) -> None:
        add_contract(mesh, "shop", name, shapes, promises, roles=["shop_staff"])
        mesh.write(f"shop/models/{[*shapes][-1]}.sql", sql)

    return change


def schema(change: Callable[[Any], object], which: int = -1) -> Callable[[Any], object]:
    return lambda contract: change(contract["schema"][which])


def promise(hours: int) -> Callable[[Any], object]:
    return lambda contract: contract["slaProperties"][-1].update(value=hours)


def both_masked(actions: tuple[str, str]) -> Break:
    """The column and the key that it refers to, each by its own action."""

    def change(mesh: CleanMesh) -> None:
        for path, action in zip((FACT, DIM), actions, strict=True):
            custom = [{"property": "mesh.mask", "value": action}]
            mesh.column(path, "product_id", classification="pii", customProperties=custom)

    return change


def workdays(contract: Any) -> None:
    """Events come from Monday to Friday."""
    week = {"workdays": ["mon", "tue", "wed", "thu", "fri"], "holidays": ["2025-12-25"]}
    contract.setdefault("customProperties", []).append({"property": "mesh.calendar", "value": week})


def without_dimension(mesh: CleanMesh) -> None:
    shape = {"event_id": "string key", "sold_ts": "timestamptz"}
    add_contract(mesh, "core", "fact_visits", {"fact_visits": shape}, {"freshness": 26})
    mesh.write("core/models/fact_visits.sql", "select event_id, sold_ts from core.sale_v1\n")


def wider_amount(mesh: CleanMesh) -> None:
    mesh.column(SALES, "amount_usd", physicalType="decimal(14,2)")
    sql = mesh.path("shop/models/sales.sql").read_text()
    wider = sql.replace("amount_usd", "cast(amount_usd as decimal(14,2)) as amount_usd")
    mesh.write("shop/models/sales.sql", wider)


def call_table(name: str) -> Break:
    def change(mesh: CleanMesh) -> None:
        mesh.edit(OUTLOOK, schema(lambda table: table.update(name=name)))
        mesh.path(SQL).rename(mesh.path(SQL).with_name(f"{name}.sql"))

    return change


def add_empty_domain(name: str, site_of: str | None = None) -> Break:
    def change(mesh: CleanMesh) -> None:
        add_domain(mesh, name, "source-aligned")
        if site_of:
            site = yaml.safe_load(mesh.path(f"{site_of}/domain.yaml").read_text())["site"]
            mesh.edit(f"{name}/domain.yaml", lambda domain: domain.update(site=site))
        mesh.mend()

    return change


def change_page(mesh: CleanMesh) -> None:
    mesh.path("/docs/rules").mkdir(parents=True)
    mesh.mend()
    mesh.write("/docs/rules/sql.md", "# sql\n\nWrite nice SQL.\n")


def term_of_lab(name: str) -> Break:
    return write("lab/glossary.yaml", f"terms:\n  {name}: {{definition: Another thing.}}\n")


def dashboard(sql: str, metric: str, filtered: str = "event_id", computed: str = "1") -> Break:
    """A dashboard of the lab: one chart, which shows a metric of a dataset, and a filter of one of its columns."""

    def change(mesh: CleanMesh) -> None:
        folder = "lab/dashboards/sales"
        rows = "rows: [[{chart: sold, width: 12, height: 20}]]"
        rows += f"\nfilters: [{{name: One, dataset: sales, column: {filtered}}}]"
        mesh.write(f"{folder}/dashboard.yaml", f"dashboard_title: Sales\ndescription: What is sold.\n{rows}\n")
        chart = f"slice_name: Sold\nviz_type: big_number_total\ndataset: sales\nparams: {{metric: {metric}}}\n"
        mesh.write(f"{folder}/charts/sold.yaml", chart)
        added = f"columns: {{more: {{expression: {computed}}}}}"
        dataset = f"description: Sales.\nmetrics: {{sold: {{expression: count(*)}}}}\n{added}\n"
        mesh.write(f"{folder}/datasets/sales.yaml", dataset)
        mesh.write(f"{folder}/datasets/sales.sql", sql)

    return change


TERM = "businessDefinition"
REFUND = {"event_id": "string key", "sold_ts": "timestamptz"}
SENT = {"sold_ts": "timestamptz"}
REFUNDS = "select event_id, sold_ts from shop.refunds__raw\n"
ITEM = {"product_id": "string key"}
OF_CORE = "select product_id from core.products\n"
OF_SALES = "select event_id, sold_ts from shop.sales\n"

# The broken rule, the file of the problem, and the function that breaks it.
BROKEN: list[tuple[str, str, Break]] = [
    ("contract", OUTLOOK, edit(OUTLOOK, lambda contract: contract.update(description={}))),
    ("contract", OUTLOOK, write(OUTLOOK, "schema: [")),
    ("contract", SALES, write(SALES, "\x00")),
    ("domain-files", "lab/owners.yaml", edit("lab/owners.yaml", lambda owners: owners.update(colour="red"))),
    ("domain-files", "lab/domain.yaml", write("lab/domain.yaml", "")),
    ("domain-files", "core/glossary.yaml", edit("core/glossary.yaml", lambda glossary: glossary.update(more=1))),
    ("domain-files", "lab/waivers.yaml", waiver(until="tomorrow")),
    ("one-source", OUTLOOK, lambda mesh: mesh.path(SQL).unlink()),
    ("no-stray-file", "lab/contracts/more.odcs.yml", write("lab/contracts/more.odcs.yml", "")),
    ("no-stray-file", "lab/models/more.sql", write("lab/models/more.sql", "select 1")),
    ("charts", "lab/dashboards/sales/charts/sold.yaml", dashboard("select event_id from shop.sales", "sale")),
    ("charts", "lab/dashboards/sales/datasets/sales.sql", dashboard("select gone from shop.sales", "sold")),
    ("charts", "lab/dashboards/sales/datasets/sales.sql", dashboard("select event_id from shop.sales__raw", "sold")),
    ("charts", "lab/dashboards/sales/dashboard.yaml", dashboard(OF_SALES, "sold", filtered="gone")),
    ("charts", "lab/dashboards/sales/datasets/sales.yaml", dashboard(OF_SALES, "sold", computed="gone + 1")),
    ("name-domain", "json/domain.yaml", add_empty_domain("json")),
    ("one-of-a-name", "stall/domain.yaml", add_empty_domain("stall", site_of="shop")),
    ("name-product", OUTLOOK, call_table("lookout")),
    (
        "name-product",
        "shop/contracts/kpi_x.odcs.yaml",
        add_product("kpi_x", {"kpi_x": REFUND}, OF_SALES, freshness=26),
    ),
    ("name-event", SALES, edit(SALES, schema(lambda event: event.update(name="sale_made_south"), 0))),
    ("name-event", SALES, add_product("refunds", {"sale_made": SENT, "refunds": REFUND}, REFUNDS, freshness=24)),
    ("local-time", "shop/models/sales.sql", send_local_time),
    ("local-time", "shop/models/sales.sql", partial(send_local_time, read="sold_ts::timestamptz")),
    ("name-column", OUTLOOK, rename(OUTLOOK, "expected_count", "expected_ts", SQL)),
    ("one-word", OUTLOOK, rename(OUTLOOK, "expected_count", "forecast", SQL)),
    ("name-file", "shop/producers/sales.py", write("shop/producers/sales.py", "")),
    ("name-dag", "lab/dags/own.py", write("lab/dags/own.py", 'DAG("retrain")\n')),
    ("name-dag", "lab/dags/own.py", write("lab/dags/own.py", "@dag\ndef retrain(): ...\n")),
    ("name-dag", "lab/dags/own.py", write("lab/dags/own.py", '@dag(dag_id="lab__build")\ndef x(): ...\n')),
    ("owner-reachable", "lab/owners.yaml", edit("lab/owners.yaml", lambda owners: owners.update(steward="TODO"))),
    ("codeowners", "/.github/CODEOWNERS", lambda mesh: mesh.path("/.github/CODEOWNERS").unlink()),
    ("codeowners", "/.github/CODEOWNERS", write("/.github/CODEOWNERS", "* @everybody\n")),
    ("rule-pages", "/docs/rules/sql.md", change_page),
    ("described", OUTLOOK, column(OUTLOOK, "product_id", description="The product id.")),
    ("examples", OUTLOOK, column(OUTLOOK, "product_id", examples=None)),
    ("examples", OUTLOOK, column(OUTLOOK, "expected_count", examples=["many"])),
    ("examples", OUTLOOK, column(OUTLOOK, "expected_count", logicalTypeOptions={"maximum": 5})),
    ("kpi-term", KPI, column(KPI, "sale_count", authoritativeDefinitions=None)),
    (
        "term-known",
        KPI,
        column(KPI, "sale_count", authoritativeDefinitions=[{"type": TERM, "url": "../glossary.yaml#x"}]),
    ),
    ("term-once", "lab/glossary.yaml", term_of_lab("sale_count")),
    ("term-once", "lab/glossary.yaml", term_of_lab("client_no")),
    ("freshness-promised", OUTLOOK, edit(OUTLOOK, lambda contract: contract["slaProperties"].pop())),
    ("freshness-kept", FACT, edit(FACT, promise(25))),
    ("freshness-kept", SALES, edit(SALES, promise(3))),
    ("freshness-kept", KPI, edit(KPI, promise(7))),
    ("freshness-kept", FACT, edit(SALES, workdays)),
    ("pii-classified", SALES, edit(SALES, schema(lambda e: e["properties"][1].pop("classification"), 0))),
    ("pii-classified", DIM, column(DIM, "label", examples=["ada@acme.example"])),
    ("masked-alike", FACT, column(FACT, "product_id", classification="pii")),
    ("masked-alike", FACT, both_masked(("sha-256-global", "show-last-4"))),
    ("no-cycle", "core/models/kpi_sales.sql", write("core/models/kpi_sales.sql", "select * from core.kpi_sales")),
    ("published-only", SQL, write(SQL, "select product_id, 1::bigint as expected_count from shop.sales__raw\n")),
    ("direction", "shop/models/shelf.sql", add_product("shelf", {"shelf": ITEM}, OF_CORE, latency=9)),
    ("deprecated-read", SQL, column(KPI, "sale_count", deprecated=True)),
    ("deprecated-read", SQL, edit(KPI, lambda data: data.update(status="deprecated"))),
    ("own-python", "lab/helpers.py", write("lab/helpers.py", "from shop.producers import produce_sales\n")),
    ("own-python", "lab/helpers.py", write("lab/helpers.py", "from domains import shop\n")),
    ("interface", SALES, wider_amount),
    ("reference", FACT, column(FACT, "product_id", relationships=[{"to": "dim_articles.product_id"}])),
    ("sql", SQL, write(SQL, "select product_id, now() as expected_count from core.kpi_sales\n")),
    ("sql", SQL, write(SQL, "select product_id, sale_count as expected_count from core.kpi_sale\n")),
    ("sql", SQL, write(SQL, "select product_id, 'x' as expected_count from core.kpi_sales\n")),
    ("sql", SQL, write(SQL, "select product_id from")),
    (
        "portable-sql",
        SQL,
        write(SQL, "select columns('product_id'), sale_count as expected_count from core.kpi_sales"),
    ),
    ("conformed-keys", FACT, column(FACT, "product_id", relationships=None)),
    ("conformed-keys", "core/contracts/fact_visits.odcs.yaml", without_dimension),
    ("level", OUTLOOK, claim(OUTLOOK, level="silver")),
    ("level-demanded", OUTLOOK, claim(OUTLOOK, demands="silver")),
    ("waiver", "lab/waivers.yaml", waiver()),
    ("waiver", "lab/waivers.yaml", waiver(rule="no-such-rule")),
    ("waiver", "lab/waivers.yaml", waiver(rule="sql")),
    ("waiver", "lab/waivers.yaml", waiver(until="2026-05-31")),
    ("waiver", "lab/waivers.yaml", waiver(until="2027-07-01")),
    ("compose-safe", "/docker-compose.yml", write("/docker-compose.yml", "services:\n")),
    ("compose-safe", "/docker-compose.yml", write("/docker-compose.yml", "\tservices")),
    ("compose-safe", "/docker-compose.yml", compose("image: rabbitmq")),
    ("compose-safe", "/docker-compose.yml", compose("image: reg.example:5000/rabbitmq")),
    ("compose-safe", "/docker-compose.yml", compose("image: rabbitmq:${TAG:-latest}@sha256:00")),
    ("compose-safe", "/docker-compose.yml", compose("image: rabbitmq:4.1.0")),
    ("compose-safe", "/docker-compose.yml", compose("image: rabbitmq@sha256:00")),
    ("compose-safe", "/docker-compose.yml", compose('ports: ["5672:5672"]')),
    ("compose-safe", "/docker-compose.yml", compose('ports: [{target: 80, published: "80"}]')),
    ("compose-safe", "/docker-compose.yml", compose("network_mode: host")),
    ("compose-safe", "/docker-compose.yml", compose("environment: {DB_PASSWORD: hunter2}")),
    ("compose-safe", "/docker-compose.yml", compose("environment: [DB_PASSWORD=hunter2]")),
    ("compose-safe", "/docker-compose.yml", compose('environment: {DB_PASSWORD: "${DB_PASSWORD:-hunter2}"}')),
    ("compose-safe", "/docker-compose.yml", compose('environment: {DB: "postgres://me:hunter2@db/x"}')),
    ("compose-safe", "/docker-compose.yml", compose('command: ["run", "--password=hunter2"]')),
    ("compose-safe", "/docker-compose.yml", compose("privileged: true")),
    ("compose-safe", "/docker-compose.yml", compose("cap_add: [SYS_ADMIN]")),
    ("compose-safe", "/docker-compose.yml", compose('volumes: ["/var/run/docker.sock:/var/run/docker.sock"]')),
    ("compose-safe", "/docker-compose.yml", compose('environment: {A_SECRET: "me:${A_SECRET:-hunter2}"}')),
    ("compose-safe", "/compose.more.yml", write("/compose.more.yml", "services: {broker: {image: rabbitmq}}")),
    ("compose-whole", "/docker-compose.yml", compose(without="healthcheck")),
    ("compose-whole", "/docker-compose.yml", compose("healthcheck: {test: [CMD, ping], disable: true}")),
    ("compose-whole", "/docker-compose.yml", compose(without="mem_limit")),
    ("compose-whole", "/docker-compose.yml", compose("command: [run, $WHERE]")),
    ("compose-whole", "/docker-compose.yml", compose('command: [run, "${WHERE}"]')),
    ("compose-whole", "/docker-compose.yml", compose('command: [run, "${WHERE:?set it}"]')),
    ("compose-whole", "/docker-compose.yml", compose('volumes: ["data:/data"]')),
    ("compose-whole", "/docker-compose.yml", compose("volumes: [{source: data, target: /data}]")),
    ("compose-whole", "/docker-compose.yml", compose("secrets: [key]")),
    ("compose-whole", "/docker-compose.yml", compose("networks: {inner: {}}")),
    ("compose-whole", "/docker-compose.yml", compose("depends_on: [setup]")),
    (
        "compose-whole",
        "/docker-compose.yml",
        compose("depends_on: {setup: {condition: service_healthy}}", others=ONCE),
    ),
    (
        "compose-whole",
        "/docker-compose.yml",
        compose(
            "depends_on: {setup: {condition: service_completed_successfully}}",
            others=ONCE.replace('restart: "no"', "healthcheck: {test: [CMD, ping]}"),
        ),
    ),
    (
        "consent",
        "lab/consents.yaml",
        write(
            "lab/consents.yaml",
            "consents: [{product: core.gone, version: 2.0.0, by: x, date: 2026-01-01, reason: none needed}]",
        ),
    ),
]


@pytest.mark.parametrize(("rule", "file", "breaks"), BROKEN, ids=[f"{r}-{i}" for i, (r, _, _) in enumerate(BROKEN)])
def test_a_rule_finds_its_fault_alone(mesh: CleanMesh, rule: str, file: str, breaks: Break) -> None:
    breaks(mesh)
    found = mesh.check()
    assert [(each.rule, each.path) for each in found] == [(rule, _shown(file))], "\n".join(map(str, found))
    assert found[0].line >= 1
    assert found[0].fix


def test_a_mesh_that_keeps_to_all_rules_has_no_problem(mesh: CleanMesh) -> None:
    assert mesh.check() == []


def test_a_safe_compose_file_has_no_problem(mesh: CleanMesh) -> None:
    mesh.write(
        "/docker-compose.yml",
        """
services:
  broker:
    image: rabbitmq:4.1.0@sha256:0000
    ports: ["127.0.0.1:${PORT:-5672}:5672", {target: 80, host_ip: 127.0.0.1}]
    environment:
      DB_PASSWORD: ${DB_PASSWORD:?set it in .env}
      DB: postgres://me:${DB_PASSWORD:?set it in .env}@db/x
      DB_CREDENTIAL: me:${DB_PASSWORD:?set it in .env}
      SECRET_FILE: /run/secrets/x
      AWS_ACCESS_KEY_ID: admin
      MONKEY: banana$$
    volumes: ["data:/var/lib/rabbitmq", "./conf:/etc/rabbitmq", {type: bind, source: ./more, target: /more}]
    secrets: [x]
    networks: [default]
    healthcheck: {test: [CMD, ping]}
    mem_limit: 1g
    depends_on: {own: {condition: service_completed_successfully}}
  own:
    image: own:local
    build: .
    expose: ["80"]
    restart: "no"
    deploy: {resources: {limits: {memory: 1g}}}
volumes: {data: {}}
secrets: {x: {file: ./x}}
""",
    )
    assert mesh.check() == []


def test_every_rule_has_a_broken_mesh_here() -> None:
    elsewhere = {"template-current": "test_scaffold", "change": "test_change_rule"}
    assert {rule for rule, _, _ in BROKEN} | {*elsewhere} == {*all_rules()}


def _shown(file: str) -> str:
    return file[1:] if file.startswith("/") else f"domains/{file}"
