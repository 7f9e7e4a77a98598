"""The proof proves: each precaution that ingest takes has a test that fails without it."""

from __future__ import annotations

import pytest
from fault_record import record
from mutations import MUTATIONS, caught_by


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_precaution_that_is_taken_out_is_noticed(name: str) -> None:
    caught = caught_by(name, most=1)
    assert caught, f"{MUTATIONS[name].__doc__} No test notices."
    files = sorted({each.split("::")[0].split("/")[-1] for each in caught})
    record(
        "a precaution is taken out of the code",
        (MUTATIONS[name].__doc__ or name).strip(". "),
        1,
        f"noticed, by {', '.join(files)} first",
    )
