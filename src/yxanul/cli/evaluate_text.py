"""Loss of `yxanul eval` on held-out text and files, and its comparison of domains."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Ui
from yxanul.bundle import Bundle, open_bundle
from yxanul.cli.options import Device
from yxanul.cli.output import make_ui, print_result
from yxanul.cli.pictures import escape, table
from yxanul.data.batches import WindowShape
from yxanul.data.fetch import fetch_shards
from yxanul.data.shards import Shards
from yxanul.eval.domains import DomainScore, Surprise, score_each_document, surprises
from yxanul.eval.perplexity import open_held_out, score_domains, window_shape
from yxanul.eval.score import Score, loss_variance, named
from yxanul.recipe import load_recipe
from yxanul.stages.data import used_sources
from yxanul.train.mixed_precision.weights import choose_device

_HEADER = ("text", "loss", "perplexity", "bits/byte", "tokens")


@dataclass(frozen=True, slots=True)
class TextRequest:
    """Model, files and window that were asked for."""

    run: Path
    checkpoint: str
    device: Device | None
    files: tuple[Path, ...] = ()
    seq_len: int | None = None
    stride: int | None = None

    def open(self) -> tuple[Bundle, WindowShape]:
        """Return the model and the shape of the windows."""
        device = choose_device(self.device or "auto")
        bundle = open_bundle(self.run, self.checkpoint, device=device)
        return bundle, window_shape(self.seq_len or bundle.seq_len, self.stride)

    def facts(self, bundle: Bundle, shape: WindowShape) -> dict[str, Any]:
        """Return what stands before the scores in JSON."""
        facts = {"run": str(self.run), "step": bundle.step}
        return facts | {"seq_len": shape.seq_len, "stride": shape.stride}

    def title(self, bundle: Bundle, shape: WindowShape) -> str:
        """Return the line above the table."""
        weights = str(self.run) if bundle.step is None else f"step {bundle.step}"
        return f"{weights}, context {shape.seq_len}, stride {shape.stride}"


def score_text(asked: TextRequest, as_json: bool) -> None:
    """Score the files if there are any, else the held-out text."""
    with StopRequest().handled():
        ui, (bundle, shape) = make_ui(), asked.open()
        if asked.files:
            model, tokenizer = bundle.model, bundle.tokenizer
            files = score_each_document(model, tokenizer, {}, asked.files, shape, ui)
            scores = {name: one.score for name, one in files.items()}
        else:
            held_out = _held_out(asked, bundle, ui)
            scores = score_domains(bundle.model, held_out, dict.fromkeys(held_out, shape), ui)
    by_name = {name: score.to_dict() for name, score in scores.items()}
    metrics = {} if asked.files else {"metrics": named(scores)}
    rows = [[name, *_figures(score)] for name, score in scores.items()]
    text = "\n".join([asked.title(bundle, shape), *table(_HEADER, rows)])
    print_result(asked.facts(bundle, shape) | {"texts": by_name} | metrics, text, as_json)


def compare_domains(asked: TextRequest, num_worst: int, as_json: bool) -> None:
    """Compare the held-out text of each source and each file, and list their worst documents."""
    with StopRequest().handled():
        ui, (bundle, shape) = make_ui(), asked.open()
        is_pretrained = bundle.data is None and asked.files
        held_out = {} if is_pretrained else _held_out(asked, bundle, ui)
        model, tokenizer = bundle.model, bundle.tokenizer
        domains = score_each_document(model, tokenizer, held_out, asked.files, shape, ui)
    found = surprises(domains, [str(path) for path in asked.files])
    scores = {name: one.score for name, one in domains.items()}
    worst = {name: domain.worst(num_worst) for name, domain in domains.items()}
    by_name = {
        name: domain.score.to_dict()
        | {"documents": len(domain.documents)}
        | (found[name].to_dict() if name in found else {})
        | {"worst": [document.to_dict() for document in worst[name]]}
        for name, domain in domains.items()
    }
    facts = asked.facts(bundle, shape) | {"texts": by_name, "metrics": named(scores)}
    lines = [asked.title(bundle, shape), *_comparison(domains, found)]
    width = shutil.get_terminal_size().columns
    for name, documents in worst.items():
        lines += ["", f"worst documents of {name} (bits/byte)"] if documents else []
        lines += [_one_line(one.score, one.text, width) for one in documents]
    print_result(facts, "\n".join(lines), as_json)


def _held_out(asked: TextRequest, bundle: Bundle, ui: Ui) -> dict[str, Shards]:
    if bundle.data is None:
        raise YxanulError(
            f"{asked.run} is a transformers folder, which has no held-out text",
            hint="pass files with --text FILE",
        )
    recipe = RunFolder(asked.run).recipe  # other runs may share its folder of shards
    used = used_sources(load_recipe(str(recipe))) if recipe.is_file() else None
    if bundle.data_address is not None:
        fetch_shards(bundle.data_address, ui, used, ["validation"])
    return open_held_out(bundle.data, bundle.tokenizer, used)


def _figures(score: Score) -> list[str]:
    figures = [f"{score.loss:.4f}", f"{score.perplexity:.3f}", f"{score.bits_per_byte:.4f}"]
    return [*figures, f"{score.tokens:,}"]


def _comparison(domains: Mapping[str, DomainScore], found: Mapping[str, Surprise]) -> list[str]:
    rows = []
    for name, domain in domains.items():
        ratio = [f"{found[name].ratio:.2f}", str(found[name])] if found else ["", ""]
        rows.append([name, *_figures(domain.score), f"{len(domain.documents):,}", *ratio])
    lines = table((*_HEADER, "documents", "surprise" if found else "", ""), rows)
    if not found:
        return lines
    scores = {name: domain.score for name, domain in domains.items()}
    metrics = named(scores)
    return [
        *lines,
        f"all: loss {metrics['val/loss']:.4f}, perplexity {metrics['val/perplexity']:.3f}, "
        f"bits/byte {metrics['val/bits_per_byte']:.4f}; "
        f"variance of the losses {loss_variance(scores):.4f}",
    ]


def _one_line(score: Score, text: str, width: int) -> str:
    from rich.text import Text

    line = Text(f"{score.bits_per_byte:8.4f}  {escape(' '.join(text[: 4 * width].split()))}")
    line.truncate(width, overflow="ellipsis")
    return line.plain
