"""Each domain with its own user: the real servers allow what contracts and models grant, and refuse the rest."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pika
import pytest
from mesh_platform.access.minio import KEY, SECRET
from mesh_platform.access.object_store import user_policy
from mesh_platform.access.rabbitmq import Management
from mesh_platform.access.rights import rights_of
from mesh_platform.access.step import PLATFORM, Credentials
from mesh_platform.broker import Queue, queue_of
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.sql.model import read_models
from minio import MinioAdmin
from minio.credentials import StaticProvider
from native_stack import Stack, native_stack
from orders import PRODUCT, in_batches, lines, send
from pika.exceptions import ChannelClosedByBroker
from pyarrow.fs import FileSelector, S3FileSystem

from conftest import ROOT, State, new_state

pytestmark = pytest.mark.stack

PLACE = "lake/warehouse"


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return load_mesh(ROOT)


def granted_of(mesh: Mesh, resource: str) -> set[tuple[str, str, str]]:
    """(domain, name, access) of all rights on queues, or on tables."""
    rights = rights_of(mesh, read_models(mesh))
    return {(each.domain, each.name, each.access) for each in rights if each.resource == resource}


def table_names(mesh: Mesh) -> list[str]:
    return sorted({name for _, name, _ in granted_of(mesh, "table")})


@pytest.fixture(scope="module")
def granted(stack: Stack, mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> State:
    """A state folder whose `mesh grants --apply` has run; an object lies where each table will have some."""
    state = new_state(tmp_path_factory.mktemp("granted"))
    state.mesh("grants", "--apply", **stack.settings)
    files = store(state, stack, PLATFORM)
    for name in table_names(mesh):
        with files.open_output_stream(f"{PLACE}/{name.replace('.', '/', 1)}/data/one") as out:
            out.write(b"one")
    return state


def credentials(state: State, name: str) -> dict[str, str]:
    return Credentials(state.folder / "credentials").read(name)


def store(state: State, stack: Stack, name: str) -> S3FileSystem:
    own = credentials(state, name)
    return S3FileSystem(
        endpoint_override=stack.settings["PYICEBERG_CATALOG__MESH__S3__ENDPOINT"],
        access_key=own["PYICEBERG_CATALOG__MESH__S3__ACCESS_KEY_ID"],
        secret_key=own["PYICEBERG_CATALOG__MESH__S3__SECRET_ACCESS_KEY"],
        region=stack.settings["PYICEBERG_CATALOG__MESH__S3__REGION"],
    )


def test_a_domain_reads_and_writes_the_objects_that_it_may_and_no_others(
    granted: State, stack: Stack, mesh: Mesh
) -> None:
    assert len(table_names(mesh)) > 100
    assert allowed_objects(granted, stack, mesh) == granted_of(mesh, "table")


def test_a_gateway_with_the_policy_of_its_bucket_allows_the_same(mesh: Mesh, tmp_path: Path) -> None:
    with native_stack("versitygw") as gateway:
        state = new_state(tmp_path)
        pid = Path(gateway.environment["MESH_STATE"], "stack", "versitygw", "pid").read_text().split()[0]
        program = Path(f"/proc/{pid}/exe").resolve()
        policy = state.mesh("grants", "--format", "bucket-policy", **gateway.settings).json
        lake = {key.rpartition("__S3__")[2]: value for key, value in gateway.settings.items() if "__S3__" in key}
        for domain in (*mesh.domains, PLATFORM):
            secret = f"secret-of-{domain}"
            add_user(program, lake, domain, secret)
            Credentials(state.folder / "credentials").set(domain, {KEY: domain, SECRET: secret})
        admin = boto3.client(
            "s3",
            endpoint_url=lake["ENDPOINT"],
            region_name=lake["REGION"],
            aws_access_key_id=lake["ACCESS_KEY_ID"],
            aws_secret_access_key=lake["SECRET_ACCESS_KEY"],
        )
        admin.put_bucket_policy(Bucket="lake", Policy=json.dumps(policy))
        for table in table_names(mesh):
            admin.put_object(Bucket="lake", Key=f"warehouse/{table.replace('.', '/', 1)}/data/one", Body=b"one")
        assert allowed_objects(state, gateway, mesh) == granted_of(mesh, "table")


def test_a_domain_lists_its_own_objects_and_not_those_of_others(granted: State, stack: Stack) -> None:
    files = store(granted, stack, "north_warehouse")
    assert files.get_file_info(FileSelector(f"{PLACE}/north_warehouse", recursive=True))
    for place in (PLACE, f"{PLACE}/south_warehouse", "lake"):
        with pytest.raises(OSError, match=r"(?i)access.?denied"):
            files.get_file_info(FileSelector(place, recursive=True))


def test_a_domain_publishes_to_and_consumes_from_its_own_queues_alone(granted: State, mesh: Mesh) -> None:
    queues = [queue_of(contract) for contract in mesh.ingested()]
    assert {queue.exchange for queue in queues} == {*mesh.domains}
    found = set()
    for domain in mesh.domains:
        url = credentials(granted, domain)["MESH_BROKER_URL"]
        for queue in queues:
            if may(partial(publish, url, queue.exchange, queue.routing_key)):
                found.add((domain, queue.name, "write"))
            for name in (queue.name, queue.dead_letter):
                if may(partial(get, url, name)):
                    found.add((domain, name, "read"))
            # By the default exchange, which reaches every queue by its name.
            assert not may(partial(publish, url, "", queue.name)), (domain, queue.name)
    assert found == granted_of(mesh, "queue")


@pytest.mark.parametrize(
    "act",
    [
        lambda channel, own, other: channel.queue_bind(f"{own}.kept", other.exchange, "#"),
        lambda channel, own, other: channel.queue_bind(other.name, own, "#"),
        lambda channel, own, other: channel.exchange_bind(other.exchange, own, "#"),
        lambda channel, own, other: channel.exchange_bind(own, other.exchange, "#"),
        lambda channel, own, other: channel.queue_declare(
            f"{own}.dead", arguments={"x-dead-letter-exchange": other.exchange}
        ),
        lambda channel, own, other: channel.queue_declare(
            f"{own}.dead", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other.name}
        ),
        lambda channel, own, other: channel.exchange_declare(
            f"{own}.x", "fanout", arguments={"alternate-exchange": other.exchange}
        ),
        lambda channel, own, other: channel.exchange_declare(
            f"{own}.x", "fanout", arguments={"alternate-exchange": ""}
        ),
        lambda channel, own, other: channel.queue_purge(other.name),
        lambda channel, own, other: channel.queue_delete(other.name),
        lambda channel, own, other: channel.exchange_delete(other.exchange),
    ],
)
def test_no_bind_dead_letter_or_alternate_exchange_leads_to_another_domain(
    granted: State, mesh: Mesh, act: Callable[[Any, str, Queue], object]
) -> None:
    own, other = "north_warehouse", queue_of(mesh.contracts[PRODUCT])
    assert other.exchange == "south_warehouse"
    url = credentials(granted, own)["MESH_BROKER_URL"]
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare(f"{own}.kept", exclusive=True)
        assert not may(partial(act, channel, own, other))


def test_what_was_changed_by_hand_is_found_and_mended(granted: State, stack: Stack) -> None:
    assert granted.mesh("grants", "--check", "--format", "json", **stack.settings).json == []
    management = Management(stack.settings["MESH_RABBITMQ_ADMIN_URL"])
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    management.put("permissions/%2F/south_warehouse", everything)
    management.put("users/stranger", {"password": "a stranger's", "tags": ""})
    management.put("permissions/%2F/stranger", everything)
    management.put("users/gone_warehouse", {"password": "of a domain that has gone", "tags": "mesh"})
    management.delete("users/west_warehouse")
    management.delete("queues/%2F/east_warehouse.orders_east.dlq")
    admin = MinioAdmin(
        endpoint=stack.settings["MESH_S3_ADMIN_URL"].rpartition("@")[2],
        credentials=StaticProvider("mesh-admin", stack.settings["PYICEBERG_CATALOG__MESH__S3__SECRET_ACCESS_KEY"]),
        secure=False,
    )
    everything = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}
    admin.policy_add("mesh-north_warehouse", policy={"Version": "2012-10-17", "Statement": [everything]})
    for name in ("of_others", "mesh-readers"):
        admin.policy_add(name, policy={"Version": "2012-10-17", "Statement": [everything]})
    admin.policy_add("mesh-gone_warehouse", policy=user_policy("gone_warehouse", (), f"s3://{PLACE}"))
    admin.user_add("gone_warehouse", "of a domain that has gone")
    admin.policy_set("mesh-gone_warehouse", user="gone_warehouse")
    admin.policy_set("mesh-mesh", user="ml_insights")
    admin.user_remove("east_warehouse")
    admin.user_add("other_person", "a secret of theirs")
    found = granted.mesh("grants", "--check", "--format", "json", check=1, **stack.settings).json
    told = {(step["server"], step["principal"], step["action"], step["what"]) for step in found}
    assert told == {
        ("rabbitmq", "south_warehouse", "update", "permissions"),
        ("rabbitmq", "stranger", "remove", "permissions"),
        ("rabbitmq", "gone_warehouse", "remove", "user"),
        ("rabbitmq", "west_warehouse", "create", "user"),
        ("rabbitmq", "west_warehouse", "create", "permissions"),
        ("rabbitmq", "mesh", "create", "queue"),
        ("s3", "north_warehouse", "update", "policy"),
        ("s3", "ml_insights", "update", "policy of the user"),
        ("s3", "east_warehouse", "create", "user"),
        ("s3", "east_warehouse", "create", "policy of the user"),
        ("s3", "gone_warehouse", "remove", "user"),
        ("s3", "gone_warehouse", "remove", "policy"),
    }
    before = credentials(granted, "west_warehouse")
    granted.mesh("grants", "--apply", **stack.settings)
    assert granted.mesh("grants", "--check", "--format", "json", **stack.settings).json == []
    # The processes of a domain need no new secret.
    assert credentials(granted, "west_warehouse") == before
    assert "other_person" in admin.user_list()
    policies = json.loads(admin.policy_list())
    assert {"of_others", "mesh-readers"} <= policies.keys()
    assert "mesh-gone_warehouse" not in policies
    assert management.get("users/stranger") is not None


def test_a_domain_ingests_builds_and_reads_its_product_with_its_own_user_alone(
    granted: State, stack: Stack, mesh: Mesh, tmp_path: Path
) -> None:
    own = as_domain(granted, stack, tmp_path, "south_warehouse")
    send(own, mesh, in_batches(lines(range(5000, 5030), minutes=0), 10))
    # The servers have orders of other tests, too.
    count = f"select count(*) as n from {PRODUCT} where order_id between 'SOUTH-005000' and 'SOUTH-005029'"
    own.mesh("ingest", PRODUCT, "--until-empty")
    own.mesh("build", PRODUCT)
    assert own.mesh("query", count, "--format", "json").json == [{"n": 30}]
    other = as_domain(granted, stack, tmp_path, "north_warehouse")
    refused = other.mesh("query", count, check=3)
    assert refused.err.startswith(f"{PRODUCT}: access is refused")
    reader = as_domain(granted, stack, tmp_path, "logistics_core")
    assert reader.mesh("query", count, "--format", "json").json == [{"n": 30}]


def as_domain(granted: State, stack: Stack, folder: Path, name: str) -> State:
    """A state folder of a domain's own, with the settings of its lake and the credentials of its user."""
    state = new_state(folder / name)
    lake = {key: value for key, value in stack.settings.items() if "ADMIN" not in key}
    state.environment.update(lake | credentials(granted, name))
    return state


def allowed_objects(state: State, stack: Stack, mesh: Mesh) -> set[tuple[str, str, str]]:
    """(domain, table, access) for each table of whose objects a domain can read one, or write one."""
    found = set()
    for domain in mesh.domains:
        files = store(state, stack, domain)
        for table in table_names(mesh):
            place = f"{PLACE}/{table.replace('.', '/', 1)}/data"
            if may(partial(read, files, f"{place}/one")):
                found.add((domain, table, "read"))
            if may(partial(put, files, f"{place}/{domain}")):
                found.add((domain, table, "write"))
    return found


def add_user(program: Path, lake: dict[str, str], name: str, secret: str) -> None:
    words = ["--access", lake["ACCESS_KEY_ID"], "--secret", lake["SECRET_ACCESS_KEY"]]
    words += [
        "--endpoint-url",
        lake["ENDPOINT"],
        "create-user",
        "--access",
        name,
        "--secret",
        secret,
        "--role",
        "user",
    ]
    subprocess.run([str(program), "admin", *words], check=True, capture_output=True)


def may(call: Callable[[], object]) -> bool:
    """Whether a server allows a call; a refusal is the only failure that counts as one."""
    try:
        call()
    except ChannelClosedByBroker as error:
        if error.reply_code != 403:
            raise
        return False
    except OSError as error:
        if "ACCESS_DENIED" not in str(error) and "AccessDenied" not in str(error):
            raise
        return False
    return True


def read(files: S3FileSystem, path: str) -> None:
    files.open_input_stream(path).read()


def put(files: S3FileSystem, path: str) -> None:
    with files.open_output_stream(path) as out:
        out.write(b"one")


def publish(url: str, exchange: str, key: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(exchange, key, b"{}", mandatory=True)


def get(url: str, queue: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().basic_get(queue)
