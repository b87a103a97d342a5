"""`yxanul generate`: continue a prompt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from yxanul.base.errors import YxanulError
from yxanul.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    RunArgument,
    argument,
    option,
)
from yxanul.cli.output import print_json, print_text

NAME = "generate"
EXAMPLES = """
yxanul generate runs/quickstart "Once upon a time"
yxanul generate runs/quickstart --prompt-file start.txt --temperature 0.7 --top-p 0.95 --samples 3
yxanul generate models/some-llama "Once upon a time"
echo "Once upon a time" | yxanul generate runs/quickstart -
"""


def command(
    run: RunArgument,
    prompt: Annotated[
        str | None, argument("PROMPT", "The text to continue; `-` reads standard input.")
    ] = None,
    prompt_file: Annotated[Path | None, option("FILE", "Read the prompt from this file.")] = None,
    max_tokens: Annotated[int, option("N", "Maximum tokens per sample.", min=1)] = 200,
    temperature: Annotated[float, option("X", "0 decodes greedily.", min=0)] = 0.8,
    top_k: Annotated[int | None, option("N", "Sample from the N likeliest tokens.", min=1)] = None,
    top_p: Annotated[
        float | None,
        option(
            "X", "Sample from the likeliest tokens whose probabilities add up to X.", min=0, max=1
        ),
    ] = None,
    min_p: Annotated[
        float | None,
        option(
            "X", "Drop tokens below X times the probability of the likeliest one.", min=0, max=1
        ),
    ] = None,
    repetition_penalty: Annotated[
        float, option("X", "Above 1 penalizes tokens already in the text.", min=0.01)
    ] = 1.0,
    seed: Annotated[int, option("N", "The same seed gives the same text.", min=0)] = 0,
    samples: Annotated[int, option("N", "Number of samples.", min=1)] = 1,
    stop: Annotated[list[str] | None, option("TEXT", "Stop before this text; repeatable.")] = None,
    checkpoint: CheckpointOption = "best",
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Continue a prompt; a single sample is streamed."""
    from yxanul.base.settings import checked
    from yxanul.bundle import open_bundle
    from yxanul.generate.config import SampleSettings
    from yxanul.generate.decode import complete, stream
    from yxanul.train.mixed_precision.weights import choose_device

    start = read_prompt(prompt, prompt_file)
    settings = checked(
        SampleSettings,
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        num_samples=samples,
        stop=tuple(stop or ()),
    )
    bundle = open_bundle(run, checkpoint, device=choose_device(device or "auto"))
    if as_json or samples > 1:
        completions = complete(bundle.model, bundle.tokenizer, start, settings)
        if as_json:
            plain = [{"text": c.text, "finish_reason": c.finished} for c in completions]
            print_json({"run": str(run), "prompt": start, "samples": plain})
            return
        for number, completion in enumerate(completions, 1):
            print_text(f"--- {number} ({completion.finished})\n{start}{completion.text}\n")
        return
    chunks = stream(bundle.model, bundle.tokenizer, start, settings)
    for number, chunk in enumerate(chunks):
        sys.stdout.write(chunk.text if number else start + chunk.text)
        sys.stdout.flush()
    sys.stdout.write("\n")


def read_prompt(prompt: str | None, prompt_file: Path | None) -> str:
    """Return the prompt from the command line, a file or standard input."""
    if prompt_file is not None:
        if prompt is not None:
            raise YxanulError("two prompts", got="PROMPT and --prompt-file", expected="only one")
        try:
            return prompt_file.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise YxanulError(f"cannot read the prompt from {prompt_file}", got=error) from None
    if prompt == "-" or (prompt is None and not sys.stdin.isatty()):
        return sys.stdin.read().removesuffix("\n")
    return prompt or ""
