"""The compose file keeps to its schema and its limits, and each of its names means what the servers offer.

No container engine runs here: nothing of this starts an image.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from conftest import HANG, ROOT, missing

MAIN = "docker-compose.yml"
GATEWAY = "docker-compose.versitygw.yml"
GIB = 1024
CORE = "core"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(MAIN)["services"]
    return found


def profiles(service: dict[str, Any]) -> list[str]:
    return service.get("profiles", [CORE])


def mib(service: dict[str, Any]) -> int:
    number, unit = re.fullmatch(r"(\d+)([mg])", service["mem_limit"]).groups()
    return int(number) * {"m": 1, "g": GIB}[unit]


@pytest.mark.parametrize("name", [MAIN, GATEWAY])
def test_a_compose_file_keeps_to_the_schema_of_the_compose_specification(name: str) -> None:
    # Not imported: what the package needs is not installed.
    schema = distribution("check-jsonschema").locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    validator = jsonschema_rs.validator_for(json.loads(Path(str(schema)).read_text(encoding="utf-8")))
    assert [
        f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(read(name))
    ] == []
    assert not validator.is_valid({"services": {"broker": {"image": "rabbitmq", "port": ["5672"]}}})


def test_the_core_needs_at_most_6_gib_and_the_docs_say_what_each_profile_needs(
    services: dict[str, dict[str, Any]],
) -> None:
    needed = {
        profile: sum(mib(service) for service in services.values() if profile in profiles(service))
        for profile in (CORE, "airflow", "superset", "openmetadata")
    }
    assert needed[CORE] <= 6 * GIB
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    said = re.findall(r"^\| `?(\w+)`?[^|]*\|[^|]*\| (\d+\.\d) GiB \|", text, re.MULTILINE)
    assert {profile: float(gib) for profile, gib in said} == {
        key: round(each / GIB, 1) for key, each in needed.items()
    }


def test_the_docs_say_at_which_port_each_service_is(services: dict[str, dict[str, Any]]) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    said = re.search(r"^- \*\*Access\.\*\*(.*?)^- ", text, re.MULTILINE | re.DOTALL)
    assert said
    published = [port for service in services.values() for port in service.get("ports", ())]
    usual = {re.fullmatch(r"127\.0\.0\.1:\$\{MESH_\w+_PORT:-(\d+)\}:\d+", port)[1] for port in published}
    assert len(usual) == len(published)
    assert usual == {*re.findall(r"\b\d{4,5}\b", said[1])}


def test_every_image_but_one_has_a_digest_that_somebody_has_published(services: dict[str, dict[str, Any]]) -> None:
    images = {service["image"] for service in services.values() if "build" not in service}
    images.add(read(GATEWAY)["services"]["store"]["image"])
    unknown = {image for image in images if not re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image)}
    assert {image.partition(":")[0] for image in unknown} == {"openmetadata/server"}


def test_the_profile_all_has_every_service(services: dict[str, dict[str, Any]]) -> None:
    assert {name for name, service in services.items() if not {CORE, "all"} & {*profiles(service)}} == set()


def test_a_service_waits_only_for_services_that_its_profiles_start(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for other in service.get("depends_on", ()):
            assert {*profiles(service)} <= {*profiles(services[other])} or profiles(services[other]) == [CORE], (
                name,
                other,
            )


def test_every_service_of_a_profile_waits_for_the_core(services: dict[str, dict[str, Any]]) -> None:
    """`up --wait` takes a one-off for lost where nothing that it starts waits for it (docker/compose#10596)."""

    def behind(name: str) -> Iterator[str]:
        for other in services[name].get("depends_on", ()):
            yield other
            yield from behind(other)

    for name, service in services.items():
        if profiles(service) != [CORE] and name != "opensearch":
            assert "init" in behind(name), name


def test_no_service_may_gain_rights_or_has_capabilities(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_what_must_survive_is_on_named_volumes(services: dict[str, dict[str, Any]]) -> None:
    homes = {
        "rabbitmq": "/var/lib/rabbitmq",
        "store": "/data",
        "postgres": "/var/lib/postgresql",
        "opensearch": "/usr/share/opensearch/data",
        "init": "/mesh/.mesh",
        "superset-follow": "/mesh/.mesh/superset",
    }
    for name, folder in homes.items():
        kept = [volume.split(":") for volume in services[name]["volumes"]]
        assert [source for source, target, *_ in kept if target == folder and "/" not in source], name
    # RabbitMQ's data are below the name of its node, which has the name of its host.
    assert services["rabbitmq"]["hostname"] == "rabbitmq"


def test_the_views_are_where_duckdb_path_names_them(services: dict[str, dict[str, Any]]) -> None:
    for name in ("init", "airflow-scheduler"):
        folder = str(Path(services[name]["environment"]["DUCKDB_PATH"]).parent)
        assert f"duckdb_data:{folder}" in services[name]["volumes"], name


def test_the_images_of_ours_begin_with_images_that_nobody_can_move() -> None:
    text = (ROOT / "scripts" / "compose" / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2
    for base in bases:
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base), base
    for folder in re.findall(r"^COPY (\S+)", text, re.MULTILINE):
        assert (ROOT / folder).exists(), folder
    kept = (ROOT / "scripts" / "compose" / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"*", "!requirements", "!platform", "!domains", "!scripts/compose"} <= {*kept}


def test_each_file_that_is_mounted_or_run_exists(services: dict[str, dict[str, Any]]) -> None:
    named = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    named += [
        word.replace("/mesh/scripts", "./scripts")
        for service in services.values()
        for word in [*service.get("entrypoint", ()), *service.get("command", ())]
        if word.startswith("/mesh/")
    ]
    paths = {each for each in named if each.startswith("./")}
    assert len(paths) >= 5
    for path in paths:
        assert (ROOT / path).is_file(), path


def test_a_shell_script_of_the_stack_is_one() -> None:
    for path in (ROOT / "scripts" / "compose").glob("*.sh"):
        subprocess.run(["sh", "-n", str(path)], check=True)


def test_each_database_that_a_service_opens_is_made(services: dict[str, dict[str, Any]]) -> None:
    script = (ROOT / "scripts" / "compose" / "databases.sh").read_text()
    found = re.search(r"^for name in (.*); do$", script, re.MULTILINE)
    assert found
    made = found[1].split()
    given = services["postgres"]["environment"]
    assert {f"{name.upper()}_PASSWORD" for name in made} == {*given} - {"POSTGRES_PASSWORD"}
    superset = services["superset"]["environment"]["MESH_SUPERSET_DATABASE"]
    opened = {
        "catalog": services["catalog"]["environment"]["QUARKUS_DATASOURCE_PASSWORD"],
        "openmetadata": services["openmetadata"]["environment"]["DB_USER_PASSWORD"],
        "superset": superset.removeprefix("postgresql+psycopg2://superset:").removesuffix("@postgres/superset"),
    }
    for name, password in opened.items():
        assert given[f"{name.upper()}_PASSWORD"] == password, name
    url = services["airflow-api"]["environment"]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert f"//airflow:{given['AIRFLOW_PASSWORD']}@postgres/airflow" in url


def test_superset_reads_the_volume_that_the_mesh_writes_and_changes_nothing_there(
    services: dict[str, dict[str, Any]],
) -> None:
    for name in ("superset-migrate", "superset"):
        home = services[name]["environment"]["MESH_SUPERSET_HOME"]
        assert f"superset_data:{home}:ro" in services[name]["volumes"], name
    for name in ("superset-files", "superset-follow"):
        state = services[name]["environment"]["MESH_STATE"]
        assert {f"mesh_state:{state}", f"superset_data:{state}/superset"} <= {*services[name]["volumes"]}, name
    # What the files are made by is what reads them: their mode is for their owner alone.
    text = (ROOT / "scripts" / "compose" / "Dockerfile").read_text()
    assert len(re.findall(r"useradd --uid 10001 .*mesh\b", text)) == text.count("\nUSER mesh\n") == 2
    assert ".mesh/superset" in text


def test_superset_has_the_settings_of_make_superset(services: dict[str, dict[str, Any]]) -> None:
    script = (ROOT / "scripts" / "superset").read_text()
    assets = ROOT / "platform/src/mesh_platform/dashboards/assets"
    assert "assets=$root/platform/src/mesh_platform/dashboards/assets\n" in script
    assert "SUPERSET_CONFIG_PATH=$assets/superset_config.py\n" in script
    config = assets / "superset_config.py"
    asked = {*re.findall(r'os\.environ(?:\.get\(|\[)"(\w+)"', config.read_text())}
    assert len(asked) == 3
    for name in ("superset", "superset-migrate"):
        mounted = dict(volume.split(":")[:2] for volume in services[name]["volumes"])
        given = services[name]["environment"]
        (source,) = [source for source, target in mounted.items() if target == given["SUPERSET_CONFIG_PATH"]]
        assert (ROOT / source).samefile(config)
        assert asked <= given.keys()
    setup = [source for source, *_ in (each.split(":") for each in services["superset-migrate"]["volumes"])]
    assert f"./{(assets / 'superset_setup.py').relative_to(ROOT)}" in setup
    assert "$assets/superset_setup.py" in script
    # Superset reads times without a zone as those of the machine.
    assert "\nTZ=UTC\n" in script
    assert services["superset"]["environment"]["TZ"] == "UTC"


def test_the_settings_inside_name_services_and_ports_that_are_there(services: dict[str, dict[str, Any]]) -> None:
    listens = {
        "store": 9000,
        "catalog": 8181,
        "rabbitmq": 15672,
        "postgres": 5432,
        "airflow-api": 8080,
        "superset": 8088,
        "opensearch": 9200,
    }
    for service in ("rabbitmq", "store", "catalog", "postgres", "airflow-api", "superset"):
        published = [int(port.rpartition(":")[2]) for port in services[service]["ports"]]
        assert listens[service] in published, service
    for name in services:
        for variable, value in services[name].get("environment", {}).items():
            for host, port in re.findall(r"(?:https?|postgresql)://(?:[^/@\s]*@)?([a-z][\w-]*):(\d+)", str(value)):
                assert listens[host] == int(port), f"{name}: {variable}"


def test_the_command_of_each_health_check_is_one_that_the_native_server_has(
    services: dict[str, dict[str, Any]],
) -> None:
    """Where a server runs natively; paths are asked in test_compose_on_servers.py."""
    words = services["rabbitmq"]["healthcheck"]["test"]
    assert words[:2] == ["CMD", "rabbitmq-diagnostics"]
    tool = shutil.which("rabbitmq-diagnostics") or "/usr/lib/rabbitmq/bin/rabbitmq-diagnostics"
    if not Path(tool).exists():
        missing("RabbitMQ is not installed (Debian: apt-get install rabbitmq-server).")
    assert words[-1] in subprocess.run([tool, "help"], capture_output=True, text=True).stdout
    words = services["postgres"]["healthcheck"]["test"]
    assert words[:2] == ["CMD", "pg_isready"]
    tool = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_isready"))), shutil.which("pg_isready"))
    if not tool:
        missing("PostgreSQL is not installed (Debian: apt-get install postgresql).")
    help_text = subprocess.run([tool, "--help"], capture_output=True, text=True).stdout
    assert [word for word in words if word.startswith("--") and word not in help_text] == []


def test_the_second_store_replaces_the_first_in_what_differs(services: dict[str, dict[str, Any]]) -> None:
    other = read(GATEWAY)
    assert {*other["services"]} <= {*services}
    (volume,) = other["services"]["store"]["volumes"]
    source, _, folder = volume.partition(":")
    assert source in other["volumes"]
    assert source not in services["store"]["volumes"][0]
    assert services["store"]["volumes"] == [f"store_data:{folder}"]


def test_the_native_servers_are_set_up_by_what_the_compose_file_says(tmp_path: Path) -> None:
    """scripts/stack in a copy whose compose file has other names, beside one in the repository."""

    def settings(root: Path, **environment: str) -> dict[str, str]:
        script = [sys.executable, str(root / "scripts" / "stack"), "env"]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MESH_")}
        kept |= {"MESH_STATE": str(tmp_path / "state"), **environment}
        printed = subprocess.run(script, env=kept, check=True, capture_output=True, text=True).stdout
        return dict(re.findall(r"^export (\w+)=(.*)$", printed, re.MULTILINE))

    usual = settings(ROOT)
    assert usual["PYICEBERG_CATALOG__MESH__WAREHOUSE"] == "s3://lake/warehouse"
    assert usual["PYICEBERG_CATALOG__MESH__S3__ENDPOINT"] == "http://127.0.0.1:9000"
    assert usual["MESH_BROKER_URL"] == "amqp://guest:guest@127.0.0.1:5672/"
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "stack", tmp_path / "scripts")
    shutil.copy(ROOT / GATEWAY, tmp_path)
    text = (ROOT / MAIN).read_text(encoding="utf-8")
    for old, new in {
        "s3://lake/warehouse": "s3://ocean/house",
        "us-east-1": "eu-west-1",
        "MINIO_ROOT_USER: mesh-admin": "MINIO_ROOT_USER: captain",
        "PORT:-9000}": "PORT:-9100}",
        "PORT:-9002}": "PORT:-9105}",
        "PORT:-5672}": "PORT:-5700}",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / MAIN).write_text(text, encoding="utf-8")
    other = settings(tmp_path)
    assert other["PYICEBERG_CATALOG__MESH__WAREHOUSE"] == "s3://ocean/house"
    assert other["PYICEBERG_CATALOG__MESH__S3__ENDPOINT"] == "http://127.0.0.1:9100"
    assert other["PYICEBERG_CATALOG__MESH__S3__REGION"] == "eu-west-1"
    assert other["PYICEBERG_CATALOG__MESH__S3__ACCESS_KEY_ID"] == "captain"
    assert other["PYICEBERG_CATALOG__MESH__URI"] == "http://127.0.0.1:9105"
    assert other["MESH_BROKER_URL"] == "amqp://guest:guest@127.0.0.1:5700/"
    moved = settings(tmp_path, MESH_STACK_PORT="9200")
    assert moved["PYICEBERG_CATALOG__MESH__URI"] == "http://127.0.0.1:9205"


def test_no_native_server_is_started_where_one_is_not_installed(tmp_path: Path) -> None:
    nothing = {"MESH_STATE": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "empty")}
    script = [sys.executable, str(ROOT / "scripts" / "stack"), "start"]
    done = subprocess.run(script, env=os.environ | nothing, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 3
    assert "install" in done.stderr.lower()
    assert [*tmp_path.rglob("pid")] == []
