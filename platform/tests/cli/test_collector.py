"""A command that runs without the garbage collector leaves it on, as what calls commands in one process needs it."""

from __future__ import annotations

import gc

import pytest
from mesh_platform.cli.collector import without_collector


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_off_while_a_command_runs_and_as_before_after_it(on: bool) -> None:
    was_on, seen = gc.isenabled(), []

    @without_collector
    def command(fails: bool) -> None:
        seen.append(gc.isenabled())
        if fails:
            raise SystemExit(1)

    try:
        (gc.enable if on else gc.disable)()
        command(fails=False)
        assert gc.isenabled() is on
        with pytest.raises(SystemExit):
            command(fails=True)
        assert gc.isenabled() is on
    finally:
        (gc.enable if was_on else gc.disable)()
    assert seen == [False, False]
