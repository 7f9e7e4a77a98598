"""References to charts in filters and metadata of a dashboard: Superset has their numbers, files have their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Superset computes them again whenever a dashboard is opened.
_COMPUTED = ("chartsInScope", "tabsInScope", "id")
_EVERYWHERE = {"rootPath": ["ROOT_ID"], "excluded": []}

To = Callable[[Any], Any]


def scope_with(scope: Any, chart: To) -> Any:
    """Return the scope of a filter with its excluded charts as `chart` has them, without those that it lacks."""
    if not isinstance(scope, Mapping) or "excluded" not in scope:
        return scope
    return {**scope, "excluded": [found for each in scope["excluded"] if (found := chart(each)) is not None]}


def metadata_with_names(metadata: Mapping[str, Any], chart: To) -> dict[str, Any]:
    """Return metadata with the names of charts, without what Superset assumes where nothing is said."""
    found = dict(metadata)
    if immune := found.pop("timed_refresh_immune_slices", None):
        found["timed_refresh_immune_slices"] = sorted(filter(None, map(chart, immune)))
    if expanded := found.pop("expanded_slices", None):
        found["expanded_slices"] = {name: value for each, value in expanded.items() if (name := chart(each))}
    everywhere = scope_with((found.pop("global_chart_configuration", None) or {}).get("scope"), chart)
    if everywhere and everywhere != _EVERYWHERE:
        found["global_chart_configuration"] = {"scope": everywhere}
    own = {}
    for each, given in (found.pop("chart_configuration", None) or {}).items():
        scope = scope_with((given.get("crossFilters") or {}).get("scope", "global"), chart)
        if scope != "global" and (name := chart(each)):
            own[name] = {"crossFilters": {"scope": scope}}
    return found | ({"chart_configuration": own} if own else {})


def metadata_with_numbers(metadata: Mapping[str, Any], chart: To) -> dict[str, Any]:
    """Return the metadata of a file as Superset has it."""
    found = dict(metadata)
    if "timed_refresh_immune_slices" in found:
        found["timed_refresh_immune_slices"] = [*map(chart, found["timed_refresh_immune_slices"])]
    if "expanded_slices" in found:
        found["expanded_slices"] = {str(chart(name)): value for name, value in found["expanded_slices"].items()}
    if "global_chart_configuration" in found:
        scope = scope_with(found["global_chart_configuration"]["scope"], chart)
        found["global_chart_configuration"] = {"scope": scope, "chartsInScope": []}
    if "chart_configuration" in found:
        found["chart_configuration"] = {
            str(chart(name)): {
                "id": chart(name),
                "crossFilters": {"scope": scope_with(each["crossFilters"]["scope"], chart), "chartsInScope": []},
            }
            for name, each in found["chart_configuration"].items()
        }
    return found


def settings_with_names(given: Mapping[str, Any], chart: To, filter_: To) -> dict[str, Any]:
    """Return the settings of a filter with the names of charts and filters, without what Superset computes."""
    found = {key: value for key, value in given.items() if key not in _COMPUTED}
    if "scope" in found:
        found["scope"] = scope_with(found["scope"], chart)
    if "cascadeParentIds" in found:
        found["cascadeParentIds"] = [name for each in found["cascadeParentIds"] if (name := filter_(each))]
    return found
