"""`mesh ml`: train models that learn, predict with them, and train one again from its record."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mesh_platform.broker import connect
from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.cli.progress import progress_bar, tell, waiting
from mesh_platform.cli.text_table import write_table
from mesh_platform.errors import AttentionError
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.sql.model import read_models

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.lake.trainings import Training
    from mesh_platform.mesh.mesh import Mesh
    from mesh_platform.settings import Settings


@click.group(short_help="Train models, predict with them, and reproduce them.")
def ml() -> None:
    """Train models that learn, predict with them, and train one again from its record.

    A model belongs to a product with an event: its predictions are these events. Without PRODUCT, a command takes
    every product that has a model.
    """


@ml.command(short_help="Train a model, and publish it if it is better.")
@click.argument("products", nargs=-1, metavar="[PRODUCT]...")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads of the training.")
@format_option
def train(products: tuple[str, ...], threads: int, output_format: str) -> None:
    """Train a model on the features of now, judge it on the last days, which it does not see, and record it.

    It is published if it loses less than its baseline and less than the model in use. A loss is what the model was
    wrong by; 0 is perfect. `mesh.trainings` has the record: the snapshots of its inputs, which are kept from then
    on, its code, parameters, seed, threads and libraries.

    Exit code 0 also if a model is held back.
    """
    from mesh_platform.ml.train import train as train_one

    settings, mesh, catalog = _open()
    models = read_models(mesh)
    done = []
    for product in _chosen(mesh, products):
        with waiting(f"train {product.partition('.')[2]}"):
            done.append(train_one(mesh, models, catalog, product, settings.now(), threads))
        verdict = "published" if done[-1].published else "not published"
        tell(f"{product}: {done[-1].name} is {verdict}; {done[-1].reason}.")
    _show(done, output_format)


@ml.command(short_help="Score the models in use as actuals come in.")
@click.argument("products", nargs=-1, metavar="[PRODUCT]...")
@format_option
def score(products: tuple[str, ...], output_format: str) -> None:
    """Score each model in use on the days that have passed since it was judged, at most the last 28, and record it.

    A contract promises with `accuracy` the share of its baseline's loss that the model stays within. If a score
    breaks that, `mesh ml predict` sends what the baseline says, until a later score keeps it or another model is
    published. In SQL, read `mesh.scores`.

    Exit code 1: a model broke its promise.
    """
    from mesh_platform.ml.score import broken_promise
    from mesh_platform.ml.score import score as score_one

    settings, mesh, catalog = _open()
    models = read_models(mesh)
    asked = _chosen(mesh, products)
    found = {product: score_one(mesh, models, catalog, product, settings.now()) for product in asked}
    rows = [asdict(each) for each in found.values() if each]
    if output_format == "json":
        write_json(rows)
    else:
        write_table([{name: _rounded(value) for name, value in row.items() if name != "scored_at"} for row in rows])
        for product in (product for product, each in found.items() if each is None):
            tell(f"{product}: no model is in use, or too few days have passed since it was judged.")
    broken = [broken_promise(each) for each in found.values() if each and not each.kept]
    if broken:
        raise AttentionError("\n".join(broken))


@ml.command(short_help="Predict, and send the predictions as events.")
@click.argument("products", nargs=-1, metavar="[PRODUCT]...")
@format_option
def predict(products: tuple[str, ...], output_format: str) -> None:
    """Predict with the model in use from the features of now, and send what it says to the product's queue.
    If it broke the promise of its contract (see `mesh ml score`), its baseline predicts.

    The events name the model, or the baseline, and as its version the training. `mesh ingest` and `mesh build` bring
    them into the tables. At the same time of the state folder's clock the same events go out again, which ingest
    recognizes.
    """
    from mesh_platform.ml.predict import predict as predict_one

    settings, mesh, catalog = _open()
    models = read_models(mesh)
    done = []
    with connect(settings.broker) as broker:
        for product in _chosen(mesh, products):
            with progress_bar(f"predict {product.partition('.')[2]}", None, "event") as advance:
                done.append(predict_one(mesh, models, catalog, broker, product, settings.now(), advance))
    rows = [asdict(each) for each in done]
    if output_format == "json":
        write_json(rows)
    else:
        write_table([{**row, "made_at": f"{row['made_at']:%Y-%m-%d %H:%M}"} for row in rows])


@ml.command("list", short_help="List the trainings, newest first.")
@click.argument("products", nargs=-1, metavar="[PRODUCT]...")
@format_option
def list_trainings(products: tuple[str, ...], output_format: str) -> None:
    """List the trainings, newest first, and which model is in use. In SQL, read `mesh.trainings`."""
    from mesh_platform.lake.trainings import read_trainings

    _settings, mesh, catalog = _open()
    chosen = _chosen(mesh, products)
    _show([each for each in read_trainings(catalog) if each.product in chosen], output_format)


@ml.command(short_help="Train a model again from its record.")
@click.argument("training")
@click.option("--threads", type=click.IntRange(1, 64), help="Threads of the training.  [default: as recorded]")
@format_option
def reproduce(training: str, threads: int | None, output_format: str) -> None:
    """Train once more on the snapshots, parameters, seed and threads that TRAINING recorded, such as t3, and compare
    the two files. It records nothing.

    Where the files differ, as they may with other threads, libraries or machines, what the two models say is
    compared: their loss on the days of the judgement, and each number that they predict after them. These may differ
    by 0.0001 of the largest number of their column; the ids and texts beside them may not differ at all.

    Exit code 1: another model came out.
    """
    from mesh_platform.ml.train import TOLERANCE
    from mesh_platform.ml.train import reproduce as reproduce_one

    _settings, mesh, catalog = _open()
    with waiting(f"train {training} again"):
        found = reproduce_one(mesh, read_models(mesh), catalog, training, threads)
    if output_format == "json":
        write_json({**asdict(found), "equal": found.equal, "within": found.within})
    elif found.equal:
        click.echo(f"{training}: the same model came out, bit by bit ({found.made}).")
    elif found.within:
        click.echo(f"{training}: a model came out that says the same, but for {found.off:.0e} of a number.")
    for each in found.differs if output_format != "json" else ():
        tell(f"{training}: {each}.")
    if not found.within:
        why = "; ".join(found.differs) or "code, libraries and rows are the same, so the training is not repeatable"
        off = "what it says cannot be compared" if found.off is None else f"what it says is off by {found.off:.1g}"
        raise AttentionError(
            f"{training}: another model came out, {found.made} instead of {found.recorded}: {off}, and {TOLERANCE:g} "
            f"is allowed ({why}). Train with the code and the libraries of that time to have the same."
        )


def _chosen(mesh: Mesh, products: tuple[str, ...]) -> list[str]:
    from mesh_platform.ml.learner import find_learner, find_learners

    return [find_learner(mesh, product).contract.identifier for product in products] or [*find_learners(mesh)]


def _show(trainings: list[Training], output_format: str) -> None:
    rows = [{"training": each.name, **{k: v for k, v in asdict(each).items() if k != "name"}} for each in trainings]
    if output_format == "json":
        write_json(rows)
        return
    columns = (
        "training",
        "product",
        "model_name",
        "known_until",
        "loss",
        "loss_of_baseline",
        "loss_in_use",
        "published",
    )
    write_table([{name: _rounded(row[name]) for name in columns} for row in rows], columns=columns)


def _rounded(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value


def _open() -> tuple[Settings, Mesh, Catalog]:
    from mesh_platform.lake.catalog import open_catalog

    settings = read_settings()
    return settings, load_remembered(settings), open_catalog(settings)
