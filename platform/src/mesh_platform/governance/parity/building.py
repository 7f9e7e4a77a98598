"""Let Spark run the whole queries of builds, except those for which it is expected to return other rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from mesh_platform.errors import ContractError
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.settings import Settings

if TYPE_CHECKING:
    from mesh_platform.build.spark_run import SparkRuns


@contextmanager
def spark_runs(settings: Settings, mesh: Mesh) -> Iterator[SparkRuns | None]:
    """Lend what runs whole queries on `MESH_SPARK_REMOTE`, which is asked first when there is one; None without it.

    Raises ContractError for a faulty parity.yaml.
    """
    remote = settings.spark_remote.get_secret_value()
    if not remote:
        yield None
        return
    # Not at the top: sqlglot's optimizer takes long to import.
    from mesh_platform.build.spark_run import SparkRuns
    from mesh_platform.engine.spark import spark_session
    from mesh_platform.governance.parity.expected import read_expected

    expected, problems = read_expected(mesh)
    if problems:
        raise ContractError(problems)
    differing = {each.table: f"{each.path}:{each.line}" for each in expected.values()}
    with ExitStack() as stack:
        yield SparkRuns(mesh, lambda: stack.enter_context(spark_session(remote)), settings.spark_catalog, differing)
