"""Where each page is, and which addresses a page may link to."""

from __future__ import annotations

import re
from functools import cache
from hashlib import blake2b
from urllib.parse import urlsplit

FOLDERS = {
    "product": "products",
    "domain": "domains",
    "interface": "interfaces",
    "term": "terms",
    "person": "people",
    "team": "people",
    "release": "releases",
    "dashboard": "dashboards",
}
_UNSAFE = re.compile(r"[^a-z0-9._-]+")
_LONGEST = 80
_MAIL = re.compile(r"[^@\s,;<>\"'?&]+@[^@\s,;<>\"'?&]+")


def slug(name: str) -> str:
    """Return `name` as part of a file's name: itself where that is safe everywhere, else with a hash of it.

    Two names never share one, also where the file system does not tell capitals apart. `--` is kept for what follows
    it.
    """
    safe = _UNSAFE.sub("-", name.lower())[:_LONGEST].strip(".-")
    while "--" in safe:
        safe = safe.replace("--", "-")
    return safe if safe and safe == name else f"{safe or 'x'}-{blake2b(name.encode(), digest_size=5).hexdigest()}"


# A build asks for that of a product in each list that has it.
@cache
def page(kind: str, name: str, number: int = 1, part: str = "") -> str:
    """Return the path of a page in the site; long ones go on at `number` 2, `part` names an additional page."""
    own = f"{kind}-" if kind == "team" else ""
    suffix = "".join(f"--{each}" for each in (part, number if number > 1 else "") if each)
    return f"{FOLDERS[kind]}/{own}{slug(name)}{suffix}.html"


def listing(name: str, number: int = 1) -> str:
    """Return the path of a page at the top of the site, such as a list of all products."""
    return f"{name}--{number}.html" if number > 1 else f"{name}.html"


def address(text: str) -> str | None:
    """Return the address that `text` may be a link to: http, https or mail; None for anything else."""
    if _MAIL.fullmatch(text):
        return f"mailto:{text}"
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if parts.scheme in ("http", "https") and parts.netloc and not re.search(r"\s", text) else None
