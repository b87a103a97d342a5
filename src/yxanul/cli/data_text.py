"""The facts of `yxanul data show` as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from yxanul.cli.pictures import (
    END_MARK,
    describe_dropped,
    elide,
    escape,
    length_columns,
    percent,
    table,
    truncate,
)

ROWS_OF_A_STEP = 8
_BEGIN_CHARS = 120
_SPAN_CHARS = 300
_MAX_SPANS = 8
_IDS = 24
_LEGEND = "├─ a new document begins"

Facts = Mapping[str, Any]


def overview(facts: Facts, full: bool) -> str:
    """Return the report on all sources, and the first documents of each."""
    sources = facts["sources"]
    lines = report(sources) if sources else []
    for name, source in sources.items():
        lines += ["", *_source(name, source, full)]
    lines += [f"{name}: not encoded yet; run `yxanul prepare`" for name in facts["missing"]]
    if not all(source["decoded"] for source in sources.values()):
        lines.append("no tokenizer to decode with: pass --tokenizer NAME|FILE")
    return "\n".join(lines)


def report(sources: Mapping[str, Facts], samples: str = "") -> list[str]:
    """Return figures by source, dropped documents by cause, and histograms of lengths.

    `samples` says where dropped documents can be read.
    """
    lines = _figures(sources)
    kept = {name: _total(source, "documents") for name, source in sources.items()}
    dropped = {
        name: describe_dropped(source["dropped"], kept[name]) for name, source in sources.items()
    }
    if any(dropped.values()):
        width = max(len(name) for name, causes in dropped.items() if causes)
        lines += ["", "dropped, with the share of all documents:"]
        lines += [f"  {name:<{width}}  {causes}" for name, causes in dropped.items() if causes]
        lines += [samples] if samples else []
    lengths = {name: source["lengths"] for name, source in sources.items()}
    picture = (f"  {line}" for line in length_columns(lengths))
    return [*lines, "", "documents by tokens:", *picture]


def _figures(sources: Mapping[str, Facts]) -> list[str]:
    """Return a table with one row per source, and the total of several."""

    def row(name: str, chars: str, *counts: int) -> list[str]:
        documents, *_, out = counts
        shown = f"{out:,} ({percent(out, documents + out)})" if out else "0"
        return [name, *(f"{count:,}" for count in counts[:-1]), chars, shown]

    numbers = [
        [
            *(_total(source, count) for count in ("documents", "tokens", "bytes")),
            *(split["documents"] for split in source["splits"].values()),
            sum(source["dropped"].values()),
        ]
        for source in sources.values()
    ]
    rows = [
        row(
            name + " (synthetic)" * source["synthetic"], f"{source['chars_per_token']:.2f}", *counts
        )
        for (name, source), counts in zip(sources.items(), numbers, strict=True)
    ]
    if len(rows) > 1:
        rows.append(row("total", "", *map(sum, zip(*numbers, strict=True))))
    header = ("source", "documents", "tokens", "bytes", "train", "held out")
    return table((*header, "chars/token", "dropped"), rows)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _total(source: Facts, count: str) -> int:
    return sum(split[count] for split in source["splits"].values())


def document(facts: Facts, full: bool) -> str:
    """Return a document's whole text, and its ids if they were asked for."""
    origin = f"slice {facts['part']}" + (f", {escape(facts['from'])}" if facts["from"] else "")
    size = f"{facts['tokens']:,} tokens, {facts['bytes']:,} bytes"
    lines = [
        f"{facts['source']}, {facts['split']}, document {facts['document']:,}: {size} ({origin})"
    ]
    if facts["text"] is not None:
        lines.append(escape(facts["text"], keep="\n\t") + (END_MARK if facts["ends"] else ""))
    if "ids" in facts:
        lines.append("ids: " + " ".join(map(str, facts["ids"])))
    return "\n".join(lines)


def stream(facts: Facts, full: bool) -> str:
    """Return rows of a source's training stream."""
    order = f"seed {facts['seed']}, shuffled within {facts['shuffle_tokens']:,} tokens"
    lines = [f"{facts['source']}: rows of {facts['seq_len']:,} tokens ({order})"]
    return "\n".join([*lines, *_rows(facts["rows"], full)])


def step(facts: Facts, full: bool) -> str:
    """Return the rows that a step reads."""
    rows, micro = facts["num_rows"], facts["micro_rows"]
    mix = ", ".join(f"{name} {weight:g}" for name, weight in facts["mix"].items())
    shape = f"{rows:,} rows of {facts['seq_len']:,} tokens, {micro:,} at a time"
    lines = [
        f"step {facts['step']:,}: stage '{facts['stage']}', step {facts['stage_step']:,} of"
        f" {facts['stage_steps']:,}, phase {facts['phase']}",
        f"{shape}; mix: {mix}; learning rate x {facts['lr_scale']:g}",
        *_rows(facts["rows"], full),
    ]
    if len(facts["rows"]) < rows:
        lines.append(f"{len(facts['rows']):,} of {rows:,} rows are shown; more with --rows R")
    return "\n".join(lines)


def dropped(facts: Facts, full: bool) -> str:
    """Return samples of the dropped documents, by cause."""
    lines: list[str] = []
    for name, samples in facts["dropped"].items():
        counts = ", ".join(f"{count:,} {cause}" for cause, count in facts["counts"][name].items())
        lines.append(f"{name}: dropped {counts or 'nothing'}")
        for sample in samples:
            text = escape(sample["text"])
            text = text if full else truncate(text, _BEGIN_CHARS)
            words = (sample["cause"], escape(sample["where"]), text)
            lines.append("  " + "  ".join(filter(None, words)))
    return "\n".join(lines)


def _source(name: str, facts: Facts, full: bool) -> list[str]:
    slices = counted(facts["parts"], "slice")
    if not facts["complete"]:
        slices = f"incomplete: {facts['parts_done']:,} of {slices} prepared"
    ids = f"{facts['vocab_size']:,} ids in {facts['dtype']}, end of text {facts['end_of_text_id']}"
    return [
        f"{name}: {slices}; {ids}; tokenizer {facts['tokenizer'][:12]}",
        *(line for split, first in facts["first"].items() for line in _first(split, first, full)),
    ]


def _first(split: str, documents: list[Facts], full: bool) -> list[str]:
    lines = [f"  first documents of {split}:"] if documents else []
    for document in documents:
        words = _words(document, full, lambda text: truncate(text, _BEGIN_CHARS))
        lines.append(f"    {document['document']}  {document['tokens']:,} tokens  {words}")
    return lines


def _rows(rows: list[Facts], full: bool) -> list[str]:
    lines: list[str] = []
    for row in rows:
        epoch = "" if row["epoch"] is None else f", epoch {row['epoch']}"
        entry = "starts" if row["documents"][0]["begins"] else "continues"
        place = f"{row['source']} at {row['position']:,}{epoch}"
        lines.append(f"row {row['row']}: {place}; {entry} a document")
        lines += _spans(row["documents"], full)
        target = row["target"]
        if target["ends"]:
            text = f"{END_MARK} "
        else:
            text = f"'{escape(target['text'])}' " if target["text"] else ""
        lines.append(f"  └─ next: {text}(id {target['id']})")
    crossed = any(len(row["documents"]) > 1 for row in rows)
    return [*lines, _LEGEND] if crossed else lines


def _spans(documents: list[Facts], full: bool) -> list[str]:
    """Return the documents of a row, separated by lines."""
    shown = documents if full else documents[:_MAX_SPANS]
    lines: list[str] = []
    for document in shown:
        words = _words(document, full, lambda text: elide(text, _SPAN_CHARS))
        lines += ["  ├─", f"  │ {words}"]
        if document["text"] is not None and "ids" in document:
            lines.append(f"  │ ids: {_ids(document['ids'], full)}")
    if more := len(documents) - len(shown):
        lines.append(f"  ├─ {counted(more, 'document')} not shown (--full)")
    return lines[1:]


def _words(document: Facts, full: bool, shorten: Callable[[str], str]) -> str:
    """Return a document's text in one line, or its ids if it is not decoded."""
    end = END_MARK if document["ends"] else ""
    if document["text"] is None:
        return f"ids: {_ids(document['ids'], full)} {end}".rstrip()
    text = escape(document["text"])
    return (text if full else shorten(text)) + end


def _ids(ids: list[int], full: bool) -> str:
    shown = ids if full else ids[:_IDS]
    more = f" … {len(ids) - len(shown):,} more" if len(shown) < len(ids) else ""
    return " ".join(map(str, shown)) + more
