"""What Airflow's worker processes import once, before tasks are forked from them: `[core] mp_forkserver_preload`.

Each task would import it else, which takes longer than most tasks.
"""

import mesh_platform.build.build
import mesh_platform.dags.pipelines
import mesh_platform.ingest.ingest
import mesh_platform.lake.catalog  # noqa: F401
