"""Answers about a new domain arrive; its folder leaves, or every problem of the answers before anything is written.

The template asks here when `cookiecutter` runs it, and so does `mesh new`: the rules have this one home. Only the
standard library and what cookiecutter brings is imported, so that the template works where the platform is not
installed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import keyword
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from zoneinfo import available_timezones

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE.parent
LINES = TEMPLATES / "lines"
FOLDER = "{{cookiecutter.domain}}"
# The files of a domain's folder that the template owns: the same in each domain but for its name.
MANAGED = ("__init__.py", "dags/{domain}_pipelines.py", "tests/__init__.py", "tests/test_domain.py")
# What programs leave in folders; it is no part of the template.
LITTER = ("__pycache__", "*.py[co]", ".*_cache", ".DS_Store", "*.swp", "*~")
RECORD = "template.yaml"
RECORD_HEAD = """\
# The template that this folder comes from, and the answers given when it was made; domain.yaml and owners.yaml say what
# holds now. `mesh template sync` moves the version on. Name under `detached` a file that the domain has taken over, with
# the reason; sync leaves it alone.
"""
HOOK = HERE / "hooks" / "post_gen_project.py"
KINDS = ("source-aligned", "aggregate", "consumer-aligned")
# Events with an amount of money: their templates bill in USD.
BILLED = ("order_created", "order_returned", "inventory_restock_event")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 50
# Schemas that DuckDB and the platform have already; mesh_platform/mesh/mesh.py has the same.
RESERVED = {"information_schema", "main", "memory", "mesh", "pg_catalog", "system", "temp"}
# What needs quotes as the schema of a table in DuckDB's SQL, or as sqlglot reads it.
SQL_WORDS = set(
    """
    all alter analyse analyze and anti any array as asc asof asymmetric at authorization between binary both by
    case cast check collate collation column concurrently constraint create cross default deferrable desc
    describe distinct do drop else end except false fetch for force foreign freeze from full glob grant group
    having ilike in initially inner insert install intersect into is isnull join lambda lateral leading left
    like limit natural not notnull null offset on only or order outer overlaps partitioned_by pivot pivot_longer
    pivot_wider placing positional primary qualify references regexp returning revoke right rlike rollback
    select semi show similar some summarize symmetric table tablesample then to trailing true uncache union
    unique unpack unpivot using values variadic verbose when where window with xor
    """.split()
)
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
    """Render the domain, its events and its template.yaml into `output`; the folder made.

    The answers must be free of problems.
    """
    # Values are put in as they are: this way cookiecutter evaluates no Jinja in them.
    _generate(HERE, answers, output, accept_hooks=False)
    for event in split_events(answers["events"]):
        render_line(event, answers["domain"], output)
    write_record(answers, output / answers["domain"])
    return output / answers["domain"]


def render_line(event: str, domain: str, output: Path) -> None:
    """Add what one event needs to the folder `domain` in `output`."""
    context = {"domain": domain, "region": domain.removesuffix("_warehouse")}
    _generate(LINES / event, context, output, overwrite_if_exists=True)


def render_managed(answers: Mapping[str, str]) -> dict[str, str]:
    """The managed files as `render_domain` writes them: text by path. No file is written, so that many are quick."""
    names = {name.format(domain=answers["domain"]): name.format(domain=FOLDER) for name in MANAGED}
    return {
        name: _environment().get_template(source).render(cookiecutter=answers) for name, source in names.items()
    }


def propose() -> dict[str, str]:
    """What the template proposes for each answer."""
    proposed = json.loads((HERE / "cookiecutter.json").read_text(encoding="utf-8"))
    # Of a list the first is proposed, as cookiecutter has it.
    return {
        key: value[0] if isinstance(value, list) else value
        for key, value in proposed.items()
        if not key.startswith("_")
    }


def write_record(answers: Mapping[str, str], folder: Path) -> None:
    """Write template.yaml into a domain's folder: the version of these templates, and the answers."""
    (folder / RECORD).write_text(record_text(answers), encoding="utf-8")


def record_text(answers: Mapping[str, str]) -> str:
    """What stands in a new template.yaml."""
    given = {"answers": {key: answers[key] for key in propose()}}
    text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=1000)
    # In quotes, as an id may look like a number.
    return f"{RECORD_HEAD}version: '{tree_id(TEMPLATES)}'\n{text}detached: {{}}\n"


def tree_id(folder: Path, found: Callable[[str, str, bytes], None] = lambda kind, name, body: None) -> str:
    """The id that git gives to the content of `folder`, with or without a repository.

    `found` is told of each object: its kind, its id, its content; of a folder after what lies in it.
    """
    entries = []
    for path in folder.iterdir():
        if any(fnmatch(path.name, pattern) for pattern in LITTER):
            continue
        name = os.fsencode(path.name)
        if path.is_symlink():
            entries.append((name, b"120000", name, _object_id("blob", os.fsencode(os.readlink(path)), found)))
        elif not path.is_dir():
            mode = b"100755" if path.stat().st_mode & stat.S_IXUSR else b"100644"
            entries.append((name, mode, name, _object_id("blob", path.read_bytes(), found)))
        # git knows no empty folder, and sorts others as if their names ended in a slash.
        elif (tree := tree_id(path, found)) != EMPTY:
            entries.append((name + b"/", b"40000", name, tree))
    body = b"".join(b"%b %b\0%b" % (mode, name, bytes.fromhex(id_)) for _, mode, name, id_ in sorted(entries))
    return _object_id("tree", body, found if body else lambda kind, name, body: None)


def _object_id(kind: str, body: bytes, found: Callable[[str, str, bytes], None]) -> str:
    name = hashlib.sha1(f"{kind} {len(body)}\0".encode() + body, usedforsecurity=False).hexdigest()
    found(kind, name, body)
    return name


EMPTY = _object_id("tree", b"", lambda kind, name, body: None)


def _generate(template: Path, context: Mapping[str, str], output: Path, **options: bool) -> None:
    # Imported here: it takes longer than all that can be done without it.
    from cookiecutter.generate import generate_files

    generate_files(template, {"cookiecutter": dict(context)}, output, **options)


@cache
def _environment() -> Environment:
    # As cookiecutter has it.
    return Environment(loader=FileSystemLoader(HERE / FOLDER), undefined=StrictUndefined, keep_trailing_newline=True)


class Answers(Extension):
    """What cookiecutter needs when it runs this template by itself: the check, and answers taken literally."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(check=self._check, template_folder=str(HERE))

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Evaluate the Jinja that stands in the template; turn that in an answer into the text it is.

        cookiecutter renders answers given on the command line as it renders its own defaults.
        """
        own = (FOLDER, f"dags/{FOLDER}_pipelines.py", "{{ check(cookiecutter) }}", HOOK.read_text(encoding="utf-8"))
        if name is not None or source in own or "{" not in source:
            return source
        literal = source.encode("unicode-escape").decode("ascii").replace("'", "\\'")
        return f"{{{{ '{literal}' }}}}"

    @staticmethod
    def _check(answers: Mapping[str, str]) -> str:
        from cookiecutter.exceptions import FailedHookException

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
    elif keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in YAML_WORDS | SQL_WORDS:
        yield f"domain '{name}' is a word of Python's, YAML's or SQL's. Choose another, such as '{name}_warehouse'."
    elif name in {*sys.stdlib_module_names, *packages_distributions(), *RESERVED, "mesh_platform", "acme_world"}:
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
