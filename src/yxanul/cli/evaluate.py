"""`yxanul eval`: loss on held-out text or on any file, and zero- and few-shot tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yxanul.cli.options import CheckpointOption, Device, DeviceOption, JsonOption

NAME = "eval"
EXAMPLES = """**Examples**

`yxanul eval runs/quickstart`

`yxanul eval runs/quickstart --text my-story.txt --text another.txt --json`

`yxanul eval models/some-llama --text my-story.txt`

`yxanul eval runs/quickstart --tasks blimp,arc_easy --task-data benchmarks/ --limit 500`

`yxanul eval runs/quickstart --tasks gsm8k,humaneval --task-data benchmarks/ --allow-code`

`yxanul eval runs/one runs/two --compare --suite small --task-data benchmarks/`"""


RunsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN...",
        help="A run folder, or a model folder of `transformers`; two with --compare.",
        show_default=False,
    ),
]


def command(
    runs: RunsArgument,
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", metavar="FILE", help="Score this file; repeatable."),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Evaluate tasks such as `blimp,gsm8k` instead."),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(metavar="small|core|code|all", help="Evaluate a suite of tasks instead."),
    ] = None,
    task_data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder with the files of the tasks.  [default: `eval.task_data`, else the hub]",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="Documents of each task, drawn with a fixed seed.", min=1),
    ] = None,
    num_fewshot: Annotated[
        int, typer.Option(metavar="N", help="Solved documents before each question.", min=0)
    ] = 0,
    allow_code: Annotated[
        bool,
        typer.Option(
            "--allow-code", metavar="", help="Run, isolated, the programs that the model writes."
        ),
    ] = False,
    unsafe_code: Annotated[
        bool,
        typer.Option(
            "--unsafe-code", metavar="", help="Run them even where they cannot be isolated."
        ),
    ] = False,
    samples: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every request or answer and its score as jsonl."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option("--compare", metavar="", help="Compare two models on the same documents."),
    ] = False,
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
    """Score the run's held-out text by domain, the given files, or tasks.

    RUN may be a `transformers` folder (Llama, Qwen3, Gemma 3), which requires --text or tasks.
    Scores of tasks are kept: the same command resumes.
    """
    from yxanul.base.errors import YxanulError

    if len(runs) != 1 + compare:
        hint = "--compare takes two runs" if compare else "pass --compare to compare two"
        raise YxanulError(f"eval of {len(runs)} runs", hint=hint)
    if tasks is None and suite is None:
        if any((compare, samples, num_fewshot, limit, task_data, allow_code, unsafe_code)):
            raise YxanulError(
                "--compare, --samples, --num-fewshot, --limit, --task-data, --allow-code and "
                "--unsafe-code are for tasks",
                hint="pass --tasks NAME,... or --suite small",
            )
        score_text(runs[0], checkpoint, device, as_json, text, (seq_len, stride))
        return
    if text or stride:
        raise YxanulError("--text and --stride do not go with tasks", hint="use two commands")
    from yxanul.cli.evaluate_tasks import TaskRequest, evaluate_tasks
    from yxanul.eval import TaskOptions

    options = TaskOptions(
        limit, num_fewshot, seq_len, allow_code=allow_code, unsafe_code=unsafe_code
    )
    asked = TaskRequest(tasks, suite, task_data, options)
    evaluate_tasks(runs, asked, samples, checkpoint, device, as_json)


def score_text(
    run: Path,
    checkpoint: str,
    device: Device | None,
    as_json: bool,
    text: list[Path] | None = None,
    window: tuple[int | None, int | None] = (None, None),
) -> None:
    """Score the held-out text or files in windows of (length, stride)."""
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
        shape = window_shape(window[0] or bundle.seq_len, window[1])
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
