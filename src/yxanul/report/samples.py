"""Texts that the model wrote during training, by prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yxanul.report.metrics_file import MetricsFile

MOST_STEPS, MOST_PROMPTS, MOST_CHARS = 12, 6, 1_000


def samples_of(metrics: MetricsFile, prompts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the samples of a few steps for each prompt: first and last, and evenly between."""
    texts = {step: text for step, name, text in metrics.notes
             if name == "samples" and isinstance(text, str)}  # fmt: skip
    steps = sorted(texts)
    if len(steps) > MOST_STEPS:
        last = len(steps) - 1
        steps = [steps[round(n * last / (MOST_STEPS - 1))] for n in range(MOST_STEPS)]
    prompts = [prompt for prompt in prompts if prompt][:MOST_PROMPTS]
    found = {prompt: [] for prompt in prompts or [""]}
    tokens = metrics.clock().at(steps)["tokens"]
    for step, seen in zip(steps, tokens, strict=True):
        for prompt, text in _by_prompt(texts[step], prompts).items():
            found[prompt].append({"step": step, "tokens": seen, "text": text})
    return [{"prompt": prompt, "texts": texts} for prompt, texts in found.items() if texts]


def _by_prompt(text: str, prompts: Sequence[str]) -> dict[str, str]:
    """Split the samples of a step, each of which begins with its prompt; drop the prompts."""
    if not prompts:
        return {"": _cut(text)}
    begins, at = [], 0
    for prompt in prompts:
        found = text.find(prompt if at == 0 else f"\n\n{prompt}", at)
        if found < 0:
            continue
        found += 0 if at == 0 else 2
        begins.append((found, prompt))
        at = found + len(prompt)
    ends = [begin for begin, _ in begins[1:]] + [len(text)]
    return {
        prompt: _cut(text[begin + len(prompt) : end].rstrip())
        for (begin, prompt), end in zip(begins, ends, strict=True)
    }


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARS else text[:MOST_CHARS] + " ..."
