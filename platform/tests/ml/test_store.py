"""A model's file lies in the lake's store, whichever that is."""

from __future__ import annotations

from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from lake_services import object_store
from mesh_platform.errors import AttentionError, ConflictError
from mesh_platform.lake import trainings
from mesh_platform.lake.catalog import embedded_properties
from mesh_platform.lake.trainings import Training, read_model, read_trainings, record_training
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog, load_catalog

MODEL = b"a model"
TRAINING = Training(
    product="fore.guess",
    model_name="means",
    baseline_name="nothing",
    trained_at=datetime(2026, 1, 5, tzinfo=UTC),
    known_until=date(2026, 1, 1),
    judged_until=date(2026, 1, 5),
    inputs={},
    code="unknown",
    parameters={"times": 1},
    seed=1,
    threads=1,
    libraries={"python": "3.11"},
    loss=1.0,
    loss_of_baseline=2.0,
    loss_in_use=None,
    file=sha256(MODEL).hexdigest(),
    published=True,
    reason="it is good",
)


def lake(folder: Path, **more: str) -> Catalog:
    (folder / ".mesh").mkdir()
    io = {"py-io-impl": "mesh_platform.iceberg.durable_io.DurableFileIO"}
    return load_catalog("mesh", **{**embedded_properties(Settings(root=folder)), **io, **more})


def test_a_model_file_comes_back_from_an_object_store_and_its_loss_is_told(tmp_path: Path) -> None:
    with object_store(tmp_path) as url:
        keys = {"s3.endpoint": url, "s3.access-key-id": "k", "s3.secret-access-key": "s", "s3.region": "us-east-1"}
        catalog = lake(tmp_path, warehouse="s3://lake/warehouse", **keys)
        made = record_training(catalog, TRAINING, MODEL)
        assert read_trainings(catalog) == [made]
        assert read_model(catalog, made) == MODEL
        table = catalog.load_table(trainings.TRAININGS)
        assert table.location().startswith("s3://lake/")
        table.io.delete(f"{table.location().rpartition('/')[0]}/models/{made.file}")
        with pytest.raises(AttentionError, match="the model of t1 is gone"):
            read_model(catalog, made)


def test_of_two_trainings_at_once_the_later_one_takes_the_next_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, append = lake(tmp_path), trainings.append_rows
    others = iter([True])

    def append_after_another(*words: object) -> int:
        if next(others, False):
            record_training(catalog, TRAINING, MODEL)
        return append(*words)

    monkeypatch.setattr(trainings, "append_rows", append_after_another)
    assert record_training(catalog, TRAINING, MODEL).name == "t2"
    assert [each.name for each in read_trainings(catalog)] == ["t2", "t1"]


def test_a_training_that_never_gets_its_turn_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def conflict(*words: object) -> int:
        raise ConflictError("somebody else")

    monkeypatch.setattr(trainings, "append_rows", conflict)
    with pytest.raises(ConflictError, match=r"mesh.trainings: others keep committing. Train again."):
        record_training(lake(tmp_path), TRAINING, MODEL)
