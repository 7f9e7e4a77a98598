"""Writing the files of a product of one's own: contract, SQL, producer, sample and test case of an event's fields."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

from mesh_platform.contract.reader import SUFFIX
from mesh_platform.events.event import format_time
from mesh_platform.events.producer import Source
from mesh_platform.mesh.scripts import load_script
from mesh_platform.scaffold.fields import EventField, event_time

_FILES = Path(__file__).with_name("own_product_files")
_SAMPLED, _SAMPLE_DAY = 20, date(2025, 10, 1)
# Seven digits are more than most figures have.
_DRAWN_DIGITS = 7
# A line of the producer fits 118 letters with it.
_PREFIX = 12
# At noon, which no clock skips or shows twice.
_LOCAL = "2025-10-01T12:00:00.000"
_EXAMPLES = {
    "int": 3,
    "long": 3_000_000_000,
    "double": 2.5,
    "boolean": True,
    "date": "2025-10-01",
    "timestamp": _LOCAL,
    "timestamptz": "2025-10-01T14:03:12.250Z",
}


@dataclass(frozen=True)
class OwnProduct:
    """A product, the type of its event, and its fields; `personal` are those to classify as pii.

    `zone` is the time zone of the domain's site, `sql_words` are names that need quotes in SQL.
    """

    domain: str
    product: str
    event: str
    fields: Sequence[EventField]
    personal: Collection[str]
    zone: str | None
    sql_words: Collection[str]
    yaml_words: Collection[str]

    @property
    def identifier(self) -> str:
        """The product as `<domain>.<product>`."""
        return f"{self.domain}.{self.product}"

    @property
    def contract(self) -> str:
        """The path of its contract in the domain's folder."""
        return f"contracts/{self.product}{SUFFIX}"

    @property
    def files(self) -> list[str]:
        """The paths of its files in the domain's folder."""
        return [*self._templates.values(), f"producers/{self.product}.csv"]

    @property
    def _templates(self) -> dict[str, str]:
        return {
            "contract.yaml": self.contract,
            "model.sql": f"models/{self.product}.sql",
            "producer.py": f"producers/produce_{self.product}.py",
            "case.yaml": f"tests/cases/{self.product}.yaml",
        }

    def write(self, folder: Path) -> None:
        """Write the files below `folder`, which is empty."""
        values = self._values()
        for template, name in self._templates.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(self._render(template, values), encoding="utf-8")
        self._write_sample(folder / self._templates["producer.py"], folder / f"producers/{self.product}.csv")

    def _values(self) -> Mapping[str, object]:
        local = any(field.type.name == "timestamp" for field in self.fields)
        return {
            "domain": self.domain,
            "product": self.product,
            "event": self.event,
            "words": self.product.replace("_", " "),
            "fields": self.fields,
            "time": event_time(self.fields),
            "optional": [field for field in self.fields if not field.required],
            "personal": self.personal,
            "examples": {field.name: _example(field) for field in self.fields},
            "results": {field.name: self._result(field) for field in self.fields},
            "zone": self.zone if local else None,
            "locals": local,
            "decimals": any(field.type.precision for field in self.fields),
        }

    def _render(self, template: str, values: Mapping[str, object]) -> str:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(_FILES), undefined=StrictUndefined, keep_trailing_newline=True
        )
        filters: dict[str, Callable[..., str]] = {
            "sql": self._column,
            "draw": partial(_drawn, event_time(self.fields)),
            "yaml": self._yaml,
        }
        environment.filters.update(filters)
        return environment.get_template(f"{template}.jinja").render(values)

    def _yaml(self, value: object) -> str:
        """A value in YAML: names as they are, all other text in quotes."""
        names = isinstance(value, str) and value.isidentifier() and value not in self.yaml_words
        return str(value) if names else json.dumps(value, ensure_ascii=False)

    def _column(self, field: EventField) -> str:
        """The column of `field` in the SELECT."""
        source = f"r.{self._quoted(field.name)}"
        if field.type.name == "timestamp":
            source = f"timezone({'s.time_zone' if self.zone else chr(39) + 'UTC' + chr(39)}, {source})"
        return source if source == f"r.{field.published}" else f"{source} as {self._quoted(field.published)}"

    def _quoted(self, name: str) -> str:
        return f'"{name}"' if name in self.sql_words else name

    def _result(self, field: EventField) -> object:
        """The example of `field` as it is published."""
        if field.type.name != "timestamp":
            return _example(field)
        local = datetime.fromisoformat(_LOCAL)
        return format_time(local.replace(tzinfo=ZoneInfo(self.zone) if self.zone else UTC))

    def _write_sample(self, script: Path, sample: Path) -> None:
        """Write what the producer draws first as a CSV file that it can replay."""
        fix = "Report it to the maintainers of the platform."
        module = load_script(script, f"_new_{self.domain}_{self.product}", script.name, fix)
        source: Source = module.producer.source
        records = source.records(self.domain, {}, root=script.parent, seed=1, start=_SAMPLE_DAY)
        with sample.open("w", encoding="utf-8", newline="") as file:
            rows = csv.DictWriter(file, [field.name for field in self.fields], lineterminator="\n")
            rows.writeheader()
            for record in islice(records, _SAMPLED):
                # As JSON has it: true, not True.
                rows.writerow({k: json.dumps(v) if isinstance(v, bool) else v for k, v in record.payload.items()})


def _example(field: EventField) -> object:
    kind = field.type
    if kind.precision:
        whole = "12"[: kind.precision - kind.scale] or "0"
        return f"{whole}.{'5':0<{kind.scale}}" if kind.scale else whole
    return _EXAMPLES.get(kind.name, f"{field.name.upper().replace('_', '-')} № 1")


def _drawn(time: EventField, field: EventField) -> str:
    """The Python expression that draws a value of `field`."""
    kind = field.type
    if field == time:
        return "format_time(at)"
    if kind.precision:
        most, places = 10 ** min(kind.precision, _DRAWN_DIGITS), f".scaleb(-{kind.scale})" if kind.scale else ""
        return f'f"{{Decimal(random.randrange({most})){places}:f}}"'
    return {
        "string": f'f"{field.name.upper().replace("_", "-")[:_PREFIX]}-{{random.randrange(1_000_000):06d}}"',
        "int": "random.randrange(100)",
        "long": "random.randrange(10_000_000_000)",
        "double": "round(random.uniform(0, 100), 3)",
        "boolean": "random.random() < 0.5",
        "date": "at.date().isoformat()",
        "timestamp": "format_local(at.replace(hour=12))",
        "timestamptz": "format_time(at - timedelta(minutes=random.randrange(60)))",
    }[kind.name]
