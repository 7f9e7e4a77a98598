"""What a domain says of a model that learns: one script `learners/learn_<model>.py`, which declares its `learner`.

The platform reads the script for what it declares. Only the process of `ml.worker` calls its functions, so a script
imports the libraries of its model inside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mesh_platform.errors import ContractError, Problem, UsageError
from mesh_platform.mesh.mesh import Domain, Mesh
from mesh_platform.mesh.scripts import load_script
from mesh_platform.text import offer, shown

if TYPE_CHECKING:
    import pyarrow as pa

    from mesh_platform.contract.contract import Contract

FOLDER = "learners"

# The rows of each table that the learner names, by name of the table, in the order of its key.
Frames = Mapping[str, "pa.Table"]


class Model(Protocol):
    """What a training made. It is stored by pickle, which needs its classes and the same libraries to load it."""

    def predict(self, frames: Frames, now: datetime, run: str) -> pa.Table:
        """The events to send, with the columns of the event but for the model, its version and the event's time.

        `run` is this run of this version, for ids. The frames have what was known when the day of `now` began.
        """

    def loss(self, frames: Frames, first: date, end: date) -> float:
        """How wrong it is about the days from `first` to before `end`, which the frames have; 0 is perfect."""


class Learner(Protocol):
    """How to make models of one kind."""

    @property
    def product(self) -> str:
        """The product `<domain>.<product>` that its predictions are events of."""

    @property
    def model_name(self) -> str:
        """The name of its models in these events."""

    @property
    def baseline_name(self) -> str:
        """The name of the baseline in these events."""

    @property
    def features(self) -> Mapping[str, str]:
        """The tables that it learns from, each with the column, a date or an instant, that tells a row's day."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of a training, as JSON has them."""

    @property
    def judged_days(self) -> int:
        """How many days a training holds out, to judge its model on."""

    def fit(self, frames: Frames, parameters: Mapping[str, Any], seed: int) -> Model:
        """A model of the rows, which are those of the days before the ones that it is judged on."""

    def baseline(self, frames: Frames) -> Model:
        """What a model must beat, made of the same rows."""


@dataclass(frozen=True)
class Declared:
    """A learner, the module that declares it, and the path of that for messages."""

    learner: Learner
    domain: Domain
    contract: Contract
    module: str
    path: str


def find_learners(mesh: Mesh) -> dict[str, Declared]:
    """The learners of all domains by their products. Raises what `learners_of` raises."""
    return {
        name: declared for domain in mesh.domains.values() for name, declared in learners_of(mesh, domain).items()
    }


def learners_of(mesh: Mesh, domain: Domain) -> dict[str, Declared]:
    """The learners of a domain by their products.

    Raises ContractError for a script that fails to load, declares none, or one for what is no event of the domain or
    promises no accuracy.
    """
    found: dict[str, Declared] = {}
    for path in sorted((domain.folder / FOLDER).glob("learn_*.py")):
        declared = _read(mesh, domain, path)
        if (other := found.setdefault(declared.contract.identifier, declared)) is not declared:
            text = f"{declared.contract.identifier} is learned by {other.path} already."
            raise ContractError([Problem(declared.path, 1, text, "Keep one of them.")])
    return found


def find_learner(mesh: Mesh, product: str) -> Declared:
    """The learner of a product. Raises UsageError, which suggests others, and what `find_learners` raises."""
    learners = find_learners(mesh)
    if product in learners:
        return learners[product]
    raise UsageError(f"{product}: no model is learned for it. {offer(product, learners)}")


def _read(mesh: Mesh, domain: Domain, path: Path) -> Declared:
    label = shown(path, mesh.root)
    module = f"{domain.name}.{FOLDER}.{path.stem}"
    fix = "Correct the script; it is run to read its `learner`. Import the model's libraries inside its functions."
    learner = getattr(load_script(path, f"_{module}", label, fix), "learner", None)
    wanted = [name for name in _members() if not hasattr(learner, name)]
    if wanted:
        what = f"declares no learner with {', '.join(wanted)}."
        raise ContractError([Problem(label, 1, what, "Write learner = ..., as mesh_platform.ml.learner says.")])
    assert learner is not None
    contract = domain.contracts.get(learner.product.partition(".")[2])
    if contract is None or contract.identifier != learner.product or contract.event is None:
        own = {each.identifier: each for each in domain.contracts.values() if each.event}
        what = f"learns '{learner.product}', which is no product of {domain.name} with an event."
        raise ContractError([Problem(label, 1, what, offer(learner.product, own))])
    if contract.accuracy is None:
        what = f"learns '{contract.identifier}', whose contract promises no accuracy."
        fix = f"Add {{property: accuracy, value: 0.95}} to its slaProperties in {contract.path}; see docs/ml.md."
        raise ContractError([Problem(label, 1, what, fix)])
    return Declared(learner, domain, contract, module, label)


def _members() -> Iterator[str]:
    return (name for name in vars(Learner) if not name.startswith("_"))
