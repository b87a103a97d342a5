"""What a run was trained on, and what was left out of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yxanul.report.files import read_mapping
from yxanul.text.documents import CAUSES

LICENCES = {
    "HuggingFaceFW/fineweb-edu": "ODC-By 1.0",
    "HuggingFaceTB/finemath": "ODC-By 1.0",
    "openai/gsm8k": "MIT",
    "nvidia/AceReason-Math": "CC BY 4.0",
    "microsoft/rStar-Coder": "CC BY 4.0",
    "roneneldan/TinyStories": "CDLA-Sharing 1.0",
}
"""Licences that data sets of the hub state on their cards; others are not known here."""


def source_facts(
    sources: Mapping[str, Any], folder: Path, read: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return each source's origin, licence, size, what was left out, and how much was read.

    `folder` has the sources' shards; `read` says how many tokens of each were trained on.
    """
    total = sum(read.values())
    facts = []
    for name, settings in sources.items():
        manifest = read_mapping(folder / name / "manifest.json")
        splits = manifest.get("splits", {})
        train, held_out = splits.get("train", {}), splits.get("validation", {})
        tokens, trained = train.get("tokens"), read.get(name, 0)
        facts.append(
            {
                "name": name,
                "origin": origin_of(settings),
                "licence": licence_of(settings),
                "synthetic": manifest.get("synthetic", settings.get("kind") == "builtin"),
                "is_whole": bool(manifest),
                "documents": train.get("documents"),
                "tokens": tokens,
                "bytes": train.get("bytes"),
                "held_out_documents": held_out.get("documents"),
                "held_out_tokens": held_out.get("tokens"),
                "tokens_read": trained,
                "share_of_training": trained / total if total else None,
                "epochs": trained / tokens if tokens else None,
                "dropped": [
                    {"cause": cause, "reason": CAUSES.get(cause, ""), "documents": count}
                    for cause, count in manifest.get("dropped", {}).items()
                    if count
                ],
            }
        )
    return facts


def origin_of(settings: Mapping[str, Any]) -> str:
    """Return where a source's text comes from."""
    kind = settings.get("kind", "?")
    if kind == "builtin":
        return f"{settings.get('domain', '')}, written by programs of yxanul".lstrip(", ")
    if kind == "hub":
        parts = (settings.get(key) for key in ("name", "config", "revision"))
        return "Hugging Face: " + ", ".join(str(part) for part in parts if part)
    return f"{kind}: {settings.get('path', '?')}"


def licence_of(settings: Mapping[str, Any]) -> str | None:
    """Return the licence of a source's text; None if it is not known."""
    if settings.get("kind") == "builtin":
        return "MIT"
    return LICENCES.get(str(settings.get("name"))) if settings.get("kind") == "hub" else None
