"""Text in files that dbt renders with Jinja."""

from __future__ import annotations

import re

_OPENING = re.compile(r"\{[{%#]")


def plain(text: str) -> str:
    """Return Jinja that renders as `text`, whatever braces it has."""
    return _OPENING.sub(lambda found: "{{ '" + found[0] + "' }}", text)
