"""Adds to the new domain what each chosen event needs, and its template.yaml. cookiecutter runs it in the new folder."""

import json
import sys
from pathlib import Path

answers = json.loads(r'{{ cookiecutter | tojson }}')
sys.path.insert(0, json.loads(r'{{ template_folder | tojson }}'))

from domain_answers import render_line, split_events, write_record  # noqa: E402  (found by the line above)

for event in split_events(answers["events"]):
    render_line(event, answers["domain"], Path.cwd().parent)
write_record(answers, Path.cwd())
