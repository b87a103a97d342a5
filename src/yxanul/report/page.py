"""The page: one HTML file that needs no other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from yxanul.base.files import write_text
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Ui
from yxanul.report.facts import POINTS, RunReader, report_facts
from yxanul.report.markdown import as_markdown, model_card

LARGEST_BYTES = 480_000
LEAST_POINTS = 75


def render(facts: dict[str, Any]) -> str:
    """Return the page that shows the facts, with its style and script inside."""
    folder = files("yxanul.report")
    template, style, script = (
        (folder / f"page.{suffix}").read_text(encoding="utf-8") for suffix in ("html", "css", "js")
    )
    parts = {
        '<link rel="stylesheet" href="page.css">': f"<style>\n{style}</style>",
        '<script src="page.js"></script>': f"<script>\n{script}</script>",
        ">{}</script>": f">{as_script(facts)}</script>",
    }
    for place, content in parts.items():
        assert template.count(place) == 1, place
        template = template.replace(place, content)
    return template


def as_script(facts: dict[str, Any]) -> str:
    """Return facts as JSON that ends no script element, whatever its texts contain."""
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def render_report(readers: Sequence[RunReader]) -> str:
    """Return the page of some runs; curves have as many points as its size allows."""
    points = POINTS
    while True:
        page = render(report_facts(readers, points))
        if len(page.encode()) <= LARGEST_BYTES or points <= LEAST_POINTS:
            return page
        points //= 2


def rendered(readers: Sequence[RunReader], format: str) -> str:
    """Return a report of some runs as html, md, json, or card (a model card, of one run)."""
    if format == "html":
        return render_report(readers)
    facts = report_facts(readers)
    if format == "json":
        return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return as_markdown(facts) if format == "md" else model_card(facts["runs"][0])


def write_report(run: RunFolder, ui: Ui, is_running: bool) -> None:
    """Write a run's `report.html`, for the process that trains it; a failure is a warning."""
    try:
        reader = RunReader(run.path, is_running)
        write_text(run.path / "report.html", render_report([reader]))
    except Exception as error:  # a report is worth no run
        ui.warn(f"the report was not written: {type(error).__name__}: {error}")
