"""`yxanul eval`: loss on held-out text or on any file, and zero- and few-shot tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from yxanul.base.errors import YxanulError
from yxanul.cli.options import CheckpointOption, DeviceOption, JsonOption, argument, flag, option

NAME = "eval"
EXAMPLES = """
yxanul eval runs/quickstart
yxanul eval runs/quickstart --text my-story.txt --text another.txt --json
yxanul eval runs/quickstart --domains --text my-story.txt
yxanul eval models/some-llama --text my-story.txt
yxanul eval runs/quickstart --tasks blimp,arc_easy --task-data benchmarks/ --limit 500
yxanul eval runs/quickstart --tasks gsm8k,humaneval --task-data benchmarks/ --allow-code
yxanul eval runs/one runs/two --compare --suite small --task-data benchmarks/
"""


RunsArgument = Annotated[
    list[Path],
    argument("RUN...", "A run folder, or a model folder of `transformers`; two with --compare."),
]


def command(
    runs: RunsArgument,
    text: Annotated[list[Path] | None, option("FILE", "Score this file; repeatable.")] = None,
    domains: Annotated[
        bool, flag("--domains", "Compare the domains, --text FILE among them.")
    ] = False,
    worst: Annotated[
        int | None, option("N", "Worst documents of each domain to list.  [default: 3]", min=0)
    ] = None,
    tasks: Annotated[
        str | None, option("NAME,...", "Evaluate tasks such as `blimp,gsm8k` instead.")
    ] = None,
    suite: Annotated[
        str | None, option("small|core|code|all", "Evaluate a suite of tasks instead.")
    ] = None,
    task_data: Annotated[
        Path | None,
        option(
            "DIR", "Folder with the files of the tasks.  [default: `eval.task_data`, else the hub]"
        ),
    ] = None,
    limit: Annotated[
        int | None, option("N", "Documents of each task, drawn with a fixed seed.", min=1)
    ] = None,
    num_fewshot: Annotated[int, option("N", "Solved documents before each question.", min=0)] = 0,
    allow_code: Annotated[
        bool, flag("--allow-code", "Run, isolated, the programs that the model writes.")
    ] = False,
    unsafe_code: Annotated[
        bool, flag("--unsafe-code", "Run them even where they cannot be isolated.")
    ] = False,
    samples: Annotated[
        Path | None, option("FILE", "Write every request or answer and its score as jsonl.")
    ] = None,
    compare: Annotated[
        bool, flag("--compare", "Compare two models on the same documents.")
    ] = False,
    seq_len: Annotated[
        int | None, option("T", "Context length.  [default: that of training]", min=2)
    ] = None,
    stride: Annotated[
        int | None,
        option("T", "Tokens scored in each window.  [default: half of --seq-len]", min=1),
    ] = None,
    checkpoint: CheckpointOption = "best",
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score the run's held-out text by domain, the given files, or tasks.

    RUN may be a `transformers` folder (Llama, Qwen3, Gemma 3), which requires --text or tasks.
    Scores of tasks are kept: the same command resumes.
    """
    if len(runs) != 1 + compare:
        expected = "two runs" if compare else "one run, or two with --compare"
        raise YxanulError("wrong number of runs", got=len(runs), expected=expected)
    if tasks is None and suite is None:
        only = {
            "--compare": compare, "--samples": samples, "--num-fewshot": num_fewshot,
            "--limit": limit, "--task-data": task_data, "--allow-code": allow_code,
            "--unsafe-code": unsafe_code,
        }  # fmt: skip
        if given := [flag for flag, value in only.items() if value]:
            hint = "add --tasks NAME,... or --suite small"
            raise YxanulError(f"{', '.join(given)}: no task is given", hint=hint)
        from yxanul.cli.evaluate_text import TextRequest, compare_domains, score_text

        if worst is not None and not domains:
            raise YxanulError("--worst needs --domains")
        asked = TextRequest(runs[0], checkpoint, device, tuple(text or ()), seq_len, stride)
        if domains:
            compare_domains(asked, 3 if worst is None else worst, as_json)
        else:
            score_text(asked, as_json)
        return
    if text or stride or domains or worst is not None:
        what = "--text, --stride, --domains and --worst cannot be combined with tasks"
        raise YxanulError(what, hint="run them as a second command")
    from yxanul.cli.evaluate_tasks import TaskRequest, evaluate_tasks
    from yxanul.eval import TaskOptions

    options = TaskOptions(
        limit, num_fewshot, seq_len, allow_code=allow_code, unsafe_code=unsafe_code
    )
    asked = TaskRequest(tasks, suite, task_data, options)
    evaluate_tasks(runs, asked, samples, checkpoint, device, as_json)
