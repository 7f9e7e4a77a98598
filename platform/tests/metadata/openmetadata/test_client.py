"""The client: retries, time limits, and a token that nobody sees; the commands that use it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from mesh_platform.cli import mesh as command
from mesh_platform.errors import AttentionError, UnavailableError, UsageError
from mesh_platform.metadata.openmetadata.client import PAGE, Client, check_server
from mesh_platform.settings import Settings
from pydantic import SecretStr

from ...small_mesh import Place
from .double import TOKEN, Double
from .double_http import serving
from .published import owned_mesh


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def url(double: Double) -> Iterator[str]:
    with serving(double) as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return owned_mesh(tmp_path_factory.mktemp("mesh"))


def call(place: Place, url: str, *words: str, token: str = TOKEN) -> Result:
    env = {"MESH_ROOT": str(place.root), "MESH_OPENMETADATA_URL": url, "MESH_OPENMETADATA_TOKEN": token}
    return CliRunner().invoke(command, ["catalog", *words], env=env)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status: int, double: Double, url: str):
    double.answers = [status, status]
    assert Client(url, TOKEN).get("system/version") is not None
    assert len(double.requests) == 3


def test_a_server_that_stays_busy_is_reported_with_its_reason(double: Double, url: str):
    double.answers = [503] * 9
    with pytest.raises(UnavailableError, match=r"PUT /v1/domains: 503, busy\. Try again later\."):
        Client(url, TOKEN, attempts=2).put("domains", {"name": "x"})
    assert len(double.requests) == 2


def test_a_lost_connection_is_tried_again_with_every_method(double: Double, url: str):
    body = {"name": "x", "domainType": "Aggregate", "description": "A."}
    for method in ("put", "patch", "delete"):
        client = Client(url, TOKEN)
        made = client.put("domains", body)
        double.cut, double.requests = 1, []
        double.heal_after = 2
        if method == "put":
            client.put("domains", body)
        elif method == "patch":
            client.patch(f"domains/{made['id']}", {"description": "B."})
        else:
            client.delete(f"domains/{made['id']}", hardDelete="true")
        assert len(double.requests) == 3, method


def test_a_server_that_is_not_there_is_unavailable(url: str):
    with pytest.raises(UnavailableError, match=r"GET /v1/system/version: no answer \(NewConnectionError\)"):
        Client("http://127.0.0.1:9", TOKEN, attempts=1).get("system/version")


def test_a_server_that_does_not_answer_in_time_is_unavailable(double: Double, url: str):
    double.delay_s = 0.5
    with pytest.raises(UnavailableError, match="ReadTimeoutError"):
        Client(url, TOKEN, attempts=1, timeout_s=0.05).get("system/version")


def test_collections_are_read_to_their_last_page(double: Double, url: str):
    client = Client(url, TOKEN)
    for number in range(3):
        client.put("domains", {"name": f"d{number}", "domainType": "Aggregate", "description": "A."})
    double.page = 2
    assert [found["name"] for found in client.pages("domains")] == ["d0", "d1", "d2"]
    assert PAGE <= 1000


@pytest.mark.parametrize(
    ("url", "token", "says"),
    [
        ("http://catalog.example.com", TOKEN, "in the clear"),
        ("http://127.0.0.1.example.com", TOKEN, "in the clear"),
        ("catalog.example.com", TOKEN, "no address"),
        ("ftp://catalog.example.com", TOKEN, "no address"),
        ("https://user:secret@catalog.example.com", TOKEN, "no address"),
        ("https://catalog.example.com", "", "is empty"),
        ("https://catalog.example.com", "secret\r\nX-Other: 1", "is no token"),
    ],
)
def test_an_address_or_a_token_that_is_wrong_is_refused_before_anything_is_sent(url: str, token: str, says: str):
    with pytest.raises(UsageError, match=says) as error:
        Client(url, token)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("path", ["", "/", "/api", "/api/v1/"])
def test_the_address_may_have_the_path_of_the_interface(path: str, url: str):
    assert Client(url + path, TOKEN).get("system/version") is not None


def test_the_token_is_in_no_message_and_no_log(
    place: Place, double: Double, url: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    secret = "eyJ-a-secret-token"
    with pytest.raises(AttentionError, match="401, Token not valid") as error:
        Client(url, secret).get("databases")
    result = call(place, url, "publish", "--to", "openmetadata", token=secret)
    assert isinstance(result.exception, AttentionError)
    settings = Settings(root=place.root, openmetadata_token=SecretStr(secret))
    texts = [str(error.value), str(result.exception), result.output, repr(settings), str(settings), caplog.text]
    assert not [text for text in texts if secret in text]


def test_a_redirect_is_not_followed_with_the_token(double: Double, url: str):
    double.answers = [302]
    with pytest.raises(AttentionError, match="302"):
        Client(url, TOKEN).get("databases")
    assert len(double.requests) == 1


def test_the_doctor_checks_version_and_token(place: Place, double: Double, url: str):
    assert check_server(Client(url, TOKEN)) == {"address": url, "version": "2.0.6", "token": "accepted"}
    double.version = "1.13.0"
    result = call(place, url, "doctor")
    assert "has version 1.13.0; 2.0.x is supported" in str(result.exception)
    double.version = "2.0.6"
    assert isinstance(call(place, url, "doctor", token="wrong").exception, AttentionError)
    assert json.loads(call(place, url, "doctor", "--format", "json").output)["version"] == "2.0.6"


def test_publish_needs_an_address(place: Place):
    result = call(place, "", "publish", "--to", "openmetadata")
    assert isinstance(result.exception, UsageError)
    assert "MESH_OPENMETADATA_URL: is not set." in str(result.exception)


def test_plan_and_check_send_only_reads_and_publish_does_what_they_show(place: Place, double: Double, url: str):
    command = ("publish", "--to", "openmetadata", "--format", "json")
    plan, check = call(place, url, *command, "--plan"), call(place, url, *command, "--check")
    assert (plan.exit_code, check.exit_code) == (0, 1)
    assert double.changing() == []
    assert plan.stdout == check.stdout
    steps = json.loads(plan.stdout)
    assert {"entity": "topic", "fqn": 'mesh_events."beta.sales_beta"', "action": "create"}.items() <= next(
        step for step in steps if step["entity"] == "topic" and "beta" in step["fqn"]
    ).items()
    assert {*steps[0]} == {"entity", "fqn", "action", "fields"}
    done = json.loads(call(place, url, *command).stdout)
    assert done[: len(steps)] == steps
    again = call(place, url, *command, "--check")
    assert (again.exit_code, json.loads(again.stdout)) == (0, [])
