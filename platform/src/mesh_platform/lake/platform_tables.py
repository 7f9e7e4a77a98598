"""The tables of the platform, which belong to no product: releases, trainings, scores, erasures, retention, audit."""

from __future__ import annotations

from collections.abc import Mapping

from mesh_platform.contract.contract import TableSchema
from mesh_platform.lake.audit import AUDIT, AUDIT_SCHEMA
from mesh_platform.lake.erasures import ERASURES, ERASURES_SCHEMA
from mesh_platform.lake.releases import RELEASES, RELEASES_SCHEMA
from mesh_platform.lake.retention import RETENTION, RETENTION_SCHEMA
from mesh_platform.lake.scores import SCORES, SCORES_SCHEMA
from mesh_platform.lake.trainings import TRAININGS, TRAININGS_SCHEMA

PLATFORM_TABLES: Mapping[str, TableSchema] = {
    RELEASES: RELEASES_SCHEMA,
    TRAININGS: TRAININGS_SCHEMA,
    SCORES: SCORES_SCHEMA,
    ERASURES: ERASURES_SCHEMA,
    AUDIT: AUDIT_SCHEMA,
    RETENTION: RETENTION_SCHEMA,
}
