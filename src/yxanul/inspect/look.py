"""Shards as JSON data: figures, documents, rows of the stream, rows of a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yxanul.base.errors import YxanulError
from yxanul.base.ui import Ui
from yxanul.data.inspect import Encoded, StreamRow, open_encoded, read_row, stream_rows
from yxanul.data.manifest import Header, Split, read_outline, read_record
from yxanul.data.order import GROUP_TOKENS
from yxanul.data.report import figures_of
from yxanul.data.verify import Check, Fault, verify_sources
from yxanul.inspect.target import Target, TokenizerFinder
from yxanul.stages.config import longest_row
from yxanul.stages.data import check_header
from yxanul.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from yxanul.stages.replay import PlannedStep

FIRST_DOCUMENTS = 3
_FIRST_TOKENS = 200
_SEQ_LEN = 256


@dataclass(frozen=True)
class Look:
    """Inspects the sources of one target."""

    place: Target
    tokenizers: TokenizerFinder
    with_ids: bool

    def overview(self, source: str | None, splits: Sequence[Split]) -> dict[str, Any]:
        """Return the figures of every source, and the start of its first documents."""
        chosen = self.place.chosen(source)
        return {
            **self.place.facts,
            "missing": list(self.place.missing) if source is None else [],
            "sources": {name: self._source(folder, splits) for name, folder in chosen.items()},
        }

    def document(self, source: str | None, split: Split, number: int) -> dict[str, Any]:
        """Return one document."""
        name, folder = self.place.only(source, "a document")
        encoded = open_encoded(folder)
        document = encoded.document(split, number)
        record = read_record(folder, document.part)
        return {
            **self.place.facts,
            "source": name,
            "split": split,
            "document": number,
            "part": document.part,
            "from": record.part if record else None,
            "tokens": len(document.ids),
            "bytes": document.num_bytes,
            **self._decoded(encoded.manifest.header, document.ids.tolist()),
        }

    def stream(
        self, source: str | None, position: int, seq_len: int | None, count: int
    ) -> dict[str, Any]:
        """Return rows of a source's training stream, starting at a position."""
        name, folder = self.place.only(source, "a position")
        encoded, recipe = open_encoded(folder), self.place.recipe
        seed, group_tokens, longest = 0, GROUP_TOKENS, _SEQ_LEN
        if recipe is not None:
            seed, group_tokens = recipe.seed, recipe.data.shuffle_tokens
            longest = max(map(longest_row, recipe.stages))
        order = encoded.order(seed, group_tokens)
        rows = stream_rows(order, name, position, seq_len or longest, count)
        return {
            **self.place.facts,
            "source": name,
            "seed": seed,
            "shuffle_tokens": group_tokens,
            "position": position,
            "seq_len": seq_len or longest,
            "rows": [{"row": n, **self._row(encoded, row)} for n, row in enumerate(rows)],
        }

    def step(self, number: int, source: str | None, most: int | None) -> dict[str, Any]:
        """Return the rows of an optimizer step of the run: of one source if given, and at most
        `most` if given."""
        from yxanul.stages.replay import locate_step

        run, recipe = self.place.run, self.place.recipe
        if run is None or recipe is None:
            raise YxanulError("--step needs a run folder", got=self.place.path)
        self.place.chosen(source)
        step = locate_step(run, recipe, number)
        phase = step.phase
        return {
            **self.place.facts,
            "step": step.step,
            "stage": step.stage,
            "stage_step": step.stage_step,
            "stage_steps": step.plan.total_steps,
            "phase": phase.index,
            "seq_len": phase.seq_len,
            "num_rows": phase.rows,
            "micro_rows": phase.micro_rows,
            "lr_scale": phase.lr_scale,
            "clip": phase.clip,
            "mix": phase.mix,
            "rows": list(islice(self._step_rows(step, source), most)),
        }

    def dropped(self, source: str | None) -> dict[str, Any]:
        """Return counts by cause and samples of dropped documents, by source."""
        opened = {name: open_encoded(folder) for name, folder in self.place.chosen(source).items()}
        return {
            **self.place.facts,
            "counts": {name: encoded.manifest.dropped for name, encoded in opened.items()},
            "dropped": {
                name: [sample.model_dump() for sample in encoded.dropped()]
                for name, encoded in opened.items()
            },
        }

    def _source(self, folder: Path, splits: Sequence[Split]) -> dict[str, Any]:
        encoded = open_encoded(folder)
        manifest, header = encoded.manifest, encoded.manifest.header
        return {
            "complete": encoded.complete,
            "parts": encoded.num_parts,
            "parts_done": encoded.parts_done,
            "tokenizer": header.tokenizer,
            "decoded": self.tokenizers.of(header) is not None,
            "vocab_size": header.vocab_size,
            "end_of_text_id": header.end_of_text_id,
            "dtype": header.dtype,
            "validation_fraction": header.validation_fraction,
            **figures_of(manifest),
            "first": {split: self._first(encoded, split) for split in splits},
        }

    def _first(self, encoded: Encoded, split: Split) -> list[dict[str, Any]]:
        """Return the start of the first documents of a split."""
        count = min(FIRST_DOCUMENTS, encoded.manifest.splits[split].documents)
        first = []
        for number in range(count):
            ids = encoded.document(split, number).ids
            start = self._decoded(encoded.manifest.header, ids[:_FIRST_TOKENS].tolist())
            cut = len(ids) > _FIRST_TOKENS
            first.append({"document": number, "tokens": len(ids), **start, "cut": cut})
        return first

    def _step_rows(self, step: PlannedStep, source: str | None) -> Iterator[dict[str, Any]]:
        """Yield the rows of a step, by micro-batch."""
        run, recipe = self.place.run, self.place.recipe
        assert run is not None and recipe is not None
        data, tokenizer = run.data(recipe.data.folder), Tokenizer.load(run.tokenizer)
        opened = {name: open_encoded(data / name) for name in {row.source for row in step.rows}}
        for name, encoded in opened.items():
            check_header(encoded.manifest.header, data, name, recipe, tokenizer)
        orders = {
            name: encoded.order(recipe.seed, recipe.data.shuffle_tokens)
            for name, encoded in opened.items()
        }
        for number, row in enumerate(step.rows):
            if source in (None, row.source):
                read = read_row(orders[row.source], row, step.phase.seq_len)
                facts = self._row(opened[row.source], read)
                yield {"row": number, "micro_batch": number // step.phase.micro_rows, **facts}

    def _row(self, encoded: Encoded, row: StreamRow) -> dict[str, Any]:
        header = encoded.manifest.header
        tokens = encoded.manifest.splits["train"].tokens
        return {
            "source": row.row.source,
            "position": row.row.start,
            "epoch": row.row.start // tokens if encoded.complete and tokens else None,
            "documents": [
                {
                    "start": span.start,
                    "tokens": len(span.ids),
                    "begins": span.begins,
                    **self._decoded(header, span.ids),
                }
                for span in row.spans
            ],
            "target": {
                "id": row.target,
                "text": self._text(header, [row.target]),
                "ends": row.target == header.end_of_text_id,
            },
        }

    def _decoded(self, header: Header, ids: list[int]) -> dict[str, Any]:
        """Return the text of ids without eos; also the ids if requested, or without a tokenizer."""
        text = self._text(header, ids)
        facts: dict[str, Any] = {"text": text, "ends": ids[-1:] == [header.end_of_text_id]}
        return {**facts, "ids": ids} if self.with_ids or text is None else facts

    def _text(self, header: Header, ids: list[int]) -> str | None:
        tokenizer = self.tokenizers.of(header)
        if tokenizer is None:
            return None
        return tokenizer.decode([i for i in ids if i != header.end_of_text_id])


def verify(place: Target, tokenizers: TokenizerFinder, ui: Ui) -> dict[str, Any]:
    """Verify every file of a target's sources; return the results as JSON data."""
    checks = verify_sources(place.folders, tokenizers.of, ui)
    _compare_with_recipe(place, checks)
    sources = {name: check.to_dict() for name, check in checks.items()}
    ok = all(source["ok"] for source in sources.values())
    return {**place.facts, "ok": ok, "sources": sources}


def _compare_with_recipe(place: Target, checks: dict[str, Check]) -> None:
    """Add a fault for each source of a run whose shards do not match its recipe."""
    run, recipe = place.run, place.recipe
    if run is None or recipe is None or place.path != run.path:
        return
    data = run.data(recipe.data.folder)
    for name in place.missing:
        checks[name] = Check(faults=[Fault(data / name, "it is not encoded; run `yxanul prepare`")])
    if not run.tokenizer.is_file():
        checks[next(iter(checks))].faults.append(Fault(run.tokenizer, "it is missing"))
        return
    tokenizer = Tokenizer.load(run.tokenizer)
    for name, folder in place.folders.items():
        try:
            header = read_outline(folder).header
            if header.tokenizer != tokenizer.digest:
                continue  # already reported
            check_header(header, data, name, recipe, tokenizer)
        except YxanulError as error:
            checks[name].faults.append(Fault(folder, str(error)))
