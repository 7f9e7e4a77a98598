"""Answers about a new domain arrive; its folder leaves, or every problem of the answers before anything is written.

The template asks here when `cookiecutter` runs it, and so does `mesh new`: the rules have this one home. Only the
standard library and what cookiecutter brings is imported, so that the template works where the platform is not
installed.
"""

from __future__ import annotations

import difflib
import keyword
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import date
from importlib.metadata import packages_distributions
from pathlib import Path
from zoneinfo import available_timezones

from cookiecutter.exceptions import FailedHookException
from cookiecutter.generate import generate_files
from jinja2 import Environment
from jinja2.ext import Extension

HERE = Path(__file__).resolve().parent
LINES = HERE.parent / "lines"
HOOK = HERE / "hooks" / "post_gen_project.py"
KINDS = ("source-aligned", "aggregate", "consumer-aligned")
# Events with an amount of money: their templates bill in USD.
BILLED = ("order_created", "order_returned", "inventory_restock_event")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 50
YAML_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
# What YAML 1.1 takes for a line break, or does not allow in a file at all.
NOT_IN_YAML = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def find_problems(answers: Mapping[str, str]) -> list[str]:
    """Everything wrong with the answers, each as a sentence that says what is allowed."""
    problems = list(_name_problems(answers["domain"]))
    kind = answers["kind"]
    if kind not in KINDS:
        problems.append(f"kind '{kind}' is not known. {_offer(kind, KINDS)}")
    for key in ("team", "steward", "contact", "on_call", "city"):
        if key in ("team", "steward", "city") and not answers[key].strip():
            problems.append(f"{key} is empty. Give at least one letter.")
        if NOT_IN_YAML.search(answers[key]):
            problems.append(f"{key} {answers[key]!r} has a control character or a line break. Leave it out.")
    if kind == "source-aligned":
        problems += _site_problems(answers)
    for event in split_events(answers["events"]):
        problems += find_line_problems(event, kind if kind in KINDS else "source-aligned", answers["currency"])
    return problems


def find_line_problems(event: str, kind: str, currency: str) -> list[str]:
    """Why a domain of this kind and currency cannot send `event` as the template writes it."""
    known = list_lines()
    if event not in known:
        return [f"event '{event}' has no template. {_offer(event, known)}"]
    problems = []
    if kind != "source-aligned":
        problems.append(
            f"event '{event}' needs a site, and a domain of kind '{kind}' has none. "
            "Choose kind 'source-aligned', or events 'none'."
        )
    elif event in BILLED and currency != "USD":
        problems.append(
            f"currency '{currency}': the template of '{event}' bills in USD alone. Choose the events without it, or "
            "'none', then write its contract and SQL as domains/north_warehouse does: the rates in "
            "reference/exchange_rates.csv, with a contract of their own, and a model that multiplies by the "
            "month's rate."
        )
    return problems


def list_lines() -> list[str]:
    """The events that have a template."""
    return sorted(path.parent.name for path in LINES.glob("*/cookiecutter.json"))


def split_events(text: str) -> list[str]:
    """The chosen events, each once; `none` or nothing at all stands for no event."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return [] if names == ["none"] else list(dict.fromkeys(names))


def render_domain(answers: Mapping[str, str], output: Path) -> Path:
    """Render the domain and its events into `output`; the folder made. The answers must be free of problems."""
    # Values are put in as they are: this way cookiecutter evaluates no Jinja in them.
    generate_files(HERE, {"cookiecutter": dict(answers)}, output, accept_hooks=False)
    for event in split_events(answers["events"]):
        render_line(event, answers["domain"], output)
    return output / answers["domain"]


def render_line(event: str, domain: str, output: Path) -> None:
    """Add what one event needs to the folder `domain` in `output`."""
    context = {"cookiecutter": {"domain": domain, "region": domain.removesuffix("_warehouse")}}
    generate_files(LINES / event, context, output, overwrite_if_exists=True)


class Answers(Extension):
    """What cookiecutter needs when it runs this template by itself: the check, and answers taken literally."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(check=self._check, template_folder=str(HERE))

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Evaluate the Jinja that stands in the template; turn that in an answer into the text it is.

        cookiecutter renders answers given on the command line as it renders its own defaults.
        """
        folder = "{{cookiecutter.domain}}"
        own = (folder, f"dags/{folder}_pipelines.py", "{{ check(cookiecutter) }}", HOOK.read_text(encoding="utf-8"))
        if name is not None or source in own or "{" not in source:
            return source
        literal = source.encode("unicode-escape").decode("ascii").replace("'", "\\'")
        return f"{{{{ '{literal}' }}}}"

    @staticmethod
    def _check(answers: Mapping[str, str]) -> str:
        # Before the first folder is made; a hook would run after that.
        problems = find_problems(answers)
        if problems:
            raise FailedHookException("\n".join(problems))
        return "yes"


def _name_problems(name: str) -> Iterable[str]:
    if not NAME.fullmatch(name):
        yield f"domain {name!r} is not a name. Use small letters, digits and single underscores, a letter first."
    elif len(name) > LONGEST_NAME:
        yield f"domain '{name}' has {len(name)} letters. Use {LONGEST_NAME} at most."
    elif keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in YAML_WORDS:
        yield f"domain '{name}' is a word of Python's or YAML's. Choose another, such as '{name}_warehouse'."
    elif name in {*sys.stdlib_module_names, *packages_distributions(), "mesh_platform", "acme_world", "mesh"}:
        yield f"domain '{name}' would hide what is called so already. Choose another, such as '{name}_warehouse'."


def _site_problems(answers: Mapping[str, str]) -> Iterable[str]:
    if not re.fullmatch("[A-Z]{2}", answers["country"]):
        yield f"country {answers['country']!r} is not one of ISO 3166. Give two capital letters, such as US."
    if answers["time_zone"] not in available_timezones():
        known = [zone for zone in available_timezones() if "/" in zone]
        yield f"time_zone {answers['time_zone']!r} is not in the IANA database. {_near(answers['time_zone'], known)}"
    if not re.fullmatch("[A-Z]{3}", answers["currency"]):
        yield f"currency {answers['currency']!r} is not one of ISO 4217. Give three capital letters, such as USD."
    try:
        # Python reads other forms too, such as 20250901, which YAML takes for a number.
        day = date.fromisoformat(answers["opened_on"]).isoformat()
    except ValueError:
        day = None
    if day != answers["opened_on"]:
        yield f"opened_on {answers['opened_on']!r} is not a day. Write it like 2025-09-01."


def _offer(wrong: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(wrong, known := list(known), n=3)
    return f"Did you mean {' or '.join(near)}?" if near else f"There is {', '.join(known) or 'none'}."


def _near(wrong: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(wrong, sorted(known), n=3)
    return f"Did you mean {' or '.join(near)}?" if near else "Write it like America/Chicago."
