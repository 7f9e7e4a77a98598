"""Doing what a plan says. Each request may be done twice; after a stop, the next plan has what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from mesh_platform.errors import AttentionError
from mesh_platform.metadata.openmetadata.client import Client
from mesh_platform.metadata.openmetadata.kinds import KINDS, Entity, Record, Ref
from mesh_platform.metadata.openmetadata.plan import Plan, make_plan, read_kind
from mesh_platform.metadata.openmetadata.ports import send_ports
from mesh_platform.metadata.openmetadata.records import send_record
from mesh_platform.metadata.openmetadata.requests import body_of, plain
from mesh_platform.metadata.openmetadata.step import Step
from mesh_platform.text import counted

BATCH = 100
# The first adds what the second can refer to, such as foreign keys; what a server restores may need a third.
_ROUNDS = 3


def publish(
    client: Client,
    wanted: Sequence[Entity],
    namespace: str,
    records: Sequence[Record] = (),
    advance: Callable[[int], object] = lambda steps: None,
) -> list[Step]:
    """Bring the server to what is wanted, send the records that it lacks, and return the steps that were done.

    `advance` is called with the number of steps that each request does. Raises AttentionError if the server does not
    keep what it is sent, and otherwise as `Client` does.
    """
    done: list[Step] = []
    for _ in range(_ROUNDS):
        plan = make_plan(client, wanted, namespace, records)
        if not plan.steps:
            return done
        _Apply(client, namespace, plan).all(advance)
        done += plan.steps
    if left := make_plan(client, wanted, namespace, records).steps:
        first = "; ".join(f"{step.entity} {step.fqn}: {', '.join(step.fields) or step.action}" for step in left[:5])
        fix = "Look whether a rule of the server, or another tool, changes it back."
        raise AttentionError(
            f"{client.address}: {counted(len(left), 'entity', 'entities')} not as sent: {first}. {fix}"
        )
    return done


class _Apply:
    def __init__(self, client: Client, namespace: str, plan: Plan) -> None:
        self.client, self.namespace, self.plan = client, namespace, plan
        self.ids = dict(plan.ids)

    def all(self, advance: Callable[[int], object]) -> None:
        for (kind, action), group in groupby(self.plan.steps, key=lambda step: (step.entity, step.action)):
            steps = [*group]
            many = kind in KINDS and KINDS[kind].bulk and action == "create"
            size = BATCH if many else 1
            for start in range(0, len(steps), size):
                chosen = steps[start : start + size]
                if many:
                    self._create_many(kind, chosen)
                elif kind == "lineage":
                    self._edge(chosen[0])
                elif kind == "ports":
                    self._ports(chosen[0])
                elif kind in KINDS:
                    self._one(chosen[0])
                else:
                    record: Record = chosen[0].request["record"]
                    send_record(self.client, record, self._id(record.of))
                advance(len(chosen))

    def _one(self, step: Step) -> None:
        how = KINDS[step.entity]
        if step.action == "create":
            made = self.client.put(how.path, self._body(step))
            self.ids[Ref(step.entity, step.fqn)] = made["id"]
        elif step.action == "update":
            self.client.patch(
                f"{how.path}/{step.id}", {name: self._plain(value) for name, value in step.request.items()}
            )
        else:
            hard = str(how.hard).lower()
            self.client.delete(f"{how.path}/{step.id}", recursive="true", hardDelete=hard)

    def _create_many(self, kind: str, steps: Sequence[Step]) -> None:
        answer = self.client.put(f"{KINDS[kind].path}/bulk", [self._body(step) for step in steps])
        # A bulk request succeeds as a whole where single entities fail.
        if failed := answer.get("failedRequest"):
            first = "; ".join(f"{each.get('request')}: {each.get('message')}" for each in failed[:5])
            raise AttentionError(
                f"{self.client.address}: {len(failed)} of {len(steps)} {kind}s are refused: {first}."
            )

    def _edge(self, step: Step) -> None:
        if step.action == "remove":
            ends = "/".join(f"{ref.type}/{self._id(ref)}" for ref in step.request["ends"])
            self.client.delete(f"lineage/{ends}")
        else:
            self.client.put("lineage", self._plain(step.request))

    def _ports(self, step: Step) -> None:
        assets = {path: self._plain(refs) for path, refs in step.request.items() if path != "of"}
        send_ports(self.client, self._id(step.request["of"]), assets)

    def _body(self, step: Step) -> dict[str, Any]:
        return body_of(step.entity, step.request, self._id)

    def _plain(self, value: Any) -> Any:
        return plain(value, self._id)

    def _id(self, ref: Ref) -> str:
        if ref not in self.ids:
            # Made by a bulk request, whose answer has no ids.
            self.ids |= {
                known: found["id"] for known, found in read_kind(self.client, ref.type, self.namespace).items()
            }
        if ref not in self.ids:
            raise AttentionError(
                f"{self.client.address}: has no {ref.type} '{ref.fqn}', which was created. Try again."
            )
        return self.ids[ref]
