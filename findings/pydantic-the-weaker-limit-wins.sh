#!/usr/bin/env bash
# Expected: A value must meet the limit of its type and that of its field, `a: Word = Field(min_length=10)`; or pydantic
#   refuses the model.
# Happens: The limit of the field is ignored without a word: 'short' passes `min_length=10`, and 5 passes `gt=10`. The JSON
#   schema shows the weaker limit of the type.
# Matters: Files that people write (reasons for exceptions, approvals, contracts) are accepted where the model says that they
#   must not be. A shared type such as "text that is not empty" makes every longer limit on top of it void.
# Instead: A type of its own with the whole constraint, `Annotated[str, StringConstraints(min_length=10, ...)]`.
# Seen: 2026-11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check pydantic==2.14.3
venv/bin/python - <<'PY'
import sys
from typing import Annotated

import pydantic
from pydantic import BaseModel, Field, StringConstraints, ValidationError

changed = []


def compare(case, expected, seen, recorded):
    print(f"{case}\n    expected  {expected}\n    seen      {seen}")
    if seen != recorded:
        changed.append(case)
        print(f"    CHANGED   it was {recorded}")


def takes(model, value):
    try:
        model(value=value)
    except ValidationError:
        return "refused"
    return "accepted"


Word = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Positive = Annotated[int, Field(gt=0)]


class Waiver(BaseModel):
    value: Word = Field(min_length=10)


class Share(BaseModel):
    value: Positive = Field(gt=10)


class Whole(BaseModel):
    value: Annotated[str, StringConstraints(min_length=10, strip_whitespace=True)]


print(f"pydantic {pydantic.VERSION}")
compare("'short' where the type says 1 and the field says 10 letters", "refused", takes(Waiver, "short"), "accepted")
shown = Waiver.model_json_schema()["properties"]["value"].get("minLength")
compare("minLength in the JSON schema of that field", 10, shown, 1)
compare("5 where the type says over 0 and the field says over 10", "refused", takes(Share, 5), "accepted")
compare("'short' where one constraint says 10", "refused", takes(Whole, "short"), "refused")
sys.exit(bool(changed))
PY
