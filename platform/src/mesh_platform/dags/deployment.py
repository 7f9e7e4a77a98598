"""The bundles and pools for an Airflow that runs the mesh, in Airflow's format.

python -m mesh_platform.dags.deployment bundles    for [dag_processor] dag_bundle_config_list
python -m mesh_platform.dags.deployment pools      for `airflow pools import FILE`; again after each new product
"""

from __future__ import annotations

import json
import sys
from typing import Any

from mesh_platform.errors import MeshError
from mesh_platform.lake.tables import landing_name
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.settings import Settings


def bundles(mesh: Mesh) -> list[dict[str, Any]]:
    """One bundle for each domain, its folder `dags/`."""
    return [
        {
            "name": name,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(domain.folder / "dags")},
        }
        for name, domain in mesh.domains.items()
    ]


def pools(mesh: Mesh) -> dict[str, dict[str, Any]]:
    """One pool with one slot for each table that DAGs write, so that it has one writer at a time."""
    names = [contract.identifier for contract in mesh.contracts.values()]
    names += [landing_name(contract) for contract in mesh.contracts.values() if contract.event]
    return {
        name: {"slots": 1, "description": f"One writer of {name}.", "include_deferred": False}
        for name in sorted(names)
    }


def main(words: list[str]) -> None:
    """Print the requested part as JSON."""
    makers = {"bundles": bundles, "pools": pools}
    if len(words) != 1 or words[0] not in makers:
        sys.exit(f"{' '.join(words) or 'no word'}: there is {' and '.join(makers)}.")
    try:
        print(json.dumps(makers[words[0]](load_remembered(Settings()))))
    except MeshError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
