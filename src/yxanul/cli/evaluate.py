"""`yxanul eval`: loss, perplexity and bits per byte on held-out text or on any file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yxanul.cli.options import CheckpointOption, DeviceOption, JsonOption, RunArgument

NAME = "eval"
EXAMPLES = """**Examples**

`yxanul eval runs/quickstart`

`yxanul eval runs/quickstart --text my-story.txt --text another.txt --json`

`yxanul eval models/some-llama --text my-story.txt`"""


def command(
    run: RunArgument,
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", metavar="FILE", help="Score this file; repeatable."),
    ] = None,
    seq_len: Annotated[
        int | None,
        typer.Option(metavar="T", help="Context length.  [default: that of training]", min=2),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            metavar="T", help="Tokens scored in each window.  [default: half of --seq-len]", min=1
        ),
    ] = None,
    checkpoint: CheckpointOption = "best",
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score the run's held-out text by domain, or the given files.

    RUN may be a `transformers` folder (Llama, Qwen3, Gemma 3), which requires --text.
    """
    from yxanul.base.errors import YxanulError
    from yxanul.base.interrupt import StopRequest
    from yxanul.bundle import open_bundle
    from yxanul.cli.output import make_ui, print_json, print_text
    from yxanul.data.fetch import fetch_shards
    from yxanul.eval.perplexity import open_held_out, score_domains, score_files, window_shape
    from yxanul.eval.score import named
    from yxanul.train.mixed_precision.weights import choose_device

    with StopRequest().handled():
        ui, bundle = make_ui(), open_bundle(run, checkpoint, device=choose_device(device or "auto"))
        shape = window_shape(seq_len or bundle.seq_len, stride)
        if text:
            scores = score_files(bundle.model, bundle.tokenizer, text, shape, ui)
        elif bundle.data is None:
            raise YxanulError(
                f"{run} is a transformers folder, which has no held-out text",
                hint="pass files with --text FILE",
            )
        else:
            if bundle.data_address is not None:
                fetch_shards(bundle.data_address, ui, splits=["validation"])
            held_out = open_held_out(bundle.data, bundle.tokenizer)
            scores = score_domains(bundle.model, held_out, dict.fromkeys(held_out, shape), ui)
    if as_json:
        by_name = {name: score.to_dict() for name, score in scores.items()}
        settings = {"seq_len": shape.seq_len, "stride": shape.stride}
        metrics = {} if text else {"metrics": named(scores)}
        facts = {"run": str(run), "step": bundle.step, **settings, "texts": by_name}
        print_json(facts | metrics)
        return
    wide = max(24, *(len(name) + 2 for name in scores))
    weights = str(run) if bundle.step is None else f"step {bundle.step}"
    print_text(f"{weights}, context {shape.seq_len}, stride {shape.stride}")
    print_text(f"{'text':<{wide}}{'loss':>8}{'perplexity':>12}{'bits/byte':>11}{'tokens':>12}")
    for name, score in scores.items():
        figures = f"{score.loss:>8.4f}{score.perplexity:>12.3f}{score.bits_per_byte:>11.4f}"
        print_text(f"{name:<{wide}}{figures}{score.tokens:>12,}")
