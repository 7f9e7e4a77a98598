"""Imports for Airflow's worker processes before they fork tasks: `[core] mp_forkserver_preload`.

Otherwise each task would import these modules itself, which takes longer than most tasks.
"""

import mesh_platform.build.build
import mesh_platform.dags.pipelines
import mesh_platform.ingest.ingest
import mesh_platform.lake.catalog  # noqa: F401
