"""Task benchmark: log-likelihoods of multiple-choice questions, against lm-evaluation-harness.

    python benchmarks/tasks.py --threads 1

Both score the same texts with the same fp32 weights: yxanul through its model in lm-eval
(`HarnessModel`), the peer being lm-eval's `hf` model on the exported folder with each of several
batch sizes. They take turns in one process, tokenizing included; a ratio is our speed over the
peer's best batch size in the same round, given as median and range. Largest difference between two
log-likelihoods is told too. With `--clock cpu` seconds are those of the processor, for one thread
of a machine that others use too.
"""

# lm-eval's and transformers' types say less than they take.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2TokenizerFast, PreTrainedTokenizerFast

from harness import report
from harness.contenders import alternating, ratio
from yxanul.bundle import open_bundle
from yxanul.eval.lm_harness import HarnessModel
from yxanul.eval.questions import Question
from yxanul.eval.run_tasks import TASKS, limited, read_rows
from yxanul.model.config import ModelSettings
from yxanul.model.convert import write_pretrained
from yxanul.model.language_model import LanguageModel

DOCUMENTS = {"hellaswag": 500, "arc_easy": 500, "blimp": 67 * 50}
BATCH_SIZES = (1, 8, 32, 64)
GPT2_SIZE = 50_257
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Score = Callable[[list[Any]], list[tuple[float, bool]]]


def questions_of(task: str, folder: Path, share: float) -> list[Question]:
    """Return a share of a task's questions; of BLiMP as many from each of its sets."""
    rows = read_rows(TASKS[task].benchmark, folder, TASKS[task].parse)
    count = round(share * DOCUMENTS[task])
    if task != "blimp":
        return limited(rows, count)
    by_set: dict[str, list[Question]] = {}
    for row in rows:
        by_set.setdefault(row.group, []).append(row)
    return [one for rows in by_set.values() for one in rows[: count // len(by_set)]]


def requests_of(task: str, folder: Path, share: float = 1.0) -> list[Any]:
    """Return what is asked of the models."""
    delimiter, found = TASKS[task].delimiter, []
    for question in questions_of(task, folder, share):
        for choice in range(question.num_choices):
            context, continuation = question.choice(choice)
            pair = (context, f"{delimiter}{continuation}")
            found.append(Instance("loglikelihood", {}, pair, len(found)))
    return found


def tokenizer_of(vocab_size: int, shared: Path) -> PreTrainedTokenizerFast:
    """Return GPT-2's tokenizer, or a byte-level BPE of another size trained on stories."""
    if vocab_size == GPT2_SIZE:
        gpt2 = shared / "gpt2"
        return GPT2TokenizerFast(str(gpt2 / "encoder.json"), str(gpt2 / "vocab.bpe"))
    raw = ByteLevelBPETokenizer()
    raw.train(str(shared / "stories" / "tinystories.txt"), vocab_size, special_tokens=["</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=raw._tokenizer, eos_token="</s>")


def contenders(
    shape: dict[str, Any], vocab_size: int, shared: Path, folder: Path
) -> dict[str, Score]:
    """Return both models by name, with the same weights."""
    tokenizer = tokenizer_of(vocab_size, shared)
    shape = {**shape, "head": "tied", "max_seq_len": 1024}
    model = LanguageModel(ModelSettings(**shape, vocab_size=len(tokenizer)))
    model.init_weights(torch.Generator().manual_seed(0))
    write_pretrained(model, folder)
    tokenizer.save_pretrained(folder)
    bundle = open_bundle(folder)
    ours = HarnessModel(bundle.model, bundle.tokenizer)

    def theirs(batch_size: int) -> Score:
        peer = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=batch_size)
        return lambda requests: peer.loglikelihood(requests, disable_tqdm=True)

    named = {f"lm-eval hf, {size}": theirs(size) for size in BATCH_SIZES}
    return {"yxanul": lambda requests: ours.loglikelihood(requests, disable_tqdm=True), **named}


def rounds(
    scores: dict[str, Score], requests: list[Any], count: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], float]:
    """Return each contender's seconds by round, and the largest difference between the first two's
    log-likelihoods."""
    seconds: dict[str, list[float]] = {name: [] for name in scores}
    found: dict[str, list[tuple[float, bool]]] = {}
    for _, name in alternating(list(scores), count):
        began = clock()
        found[name] = scores[name](requests)
        seconds[name].append(clock() - began)
    ours, theirs, *_ = (found[name] for name in scores)
    return seconds, max(abs(a - b) for (a, _), (b, _) in zip(ours, theirs, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Time every preset and task, and write the ratios."""
    parser = report.make_parser(__doc__)
    parser.add_argument("--shared", type=Path, default=report.SHARED)
    parser.add_argument("--presets", nargs="+", default=["nano"])
    parser.add_argument("--vocab-sizes", type=int, nargs="+", default=[4096, GPT2_SIZE])
    parser.add_argument("--tasks", nargs="+", choices=list(DOCUMENTS), default=list(DOCUMENTS))
    parser.add_argument("--depth", type=int, help="layers, if not those of the preset")
    parser.add_argument("--share", type=float, default=1.0, help="of the questions of each task")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    options = report.parse(parser, arguments)
    found, rows = [], []
    for preset, vocab_size in product(options.presets, options.vocab_sizes):
        shape = {"preset": preset} | ({"depth": options.depth} if options.depth else {})
        with tempfile.TemporaryDirectory() as name:
            scores = contenders(shape, vocab_size, options.shared, Path(name) / "model")
        for task in options.tasks:
            requests = requests_of(task, options.shared, options.share)
            clock = CLOCKS[options.clock]
            times, worst = rounds(scores, requests, options.rounds, clock)
            medians = {one: statistics.median(values) for one, values in times.items()}
            best = min(list(scores)[1:], key=medians.__getitem__)
            faster = ratio(times[best], times["yxanul"])
            facts = {**shape, "vocab_size": vocab_size, "task": task}
            facts |= {"requests": len(requests), "clock": options.clock, "seconds": times}
            found.append(facts | {"best_peer": best, "ratio": faster, "difference": worst})
            figures = [f"{medians['yxanul']:.1f}", f"{medians[best]:.1f}", best]
            rows.append(
                [
                    f"{preset}, {vocab_size} tokens: {task}",
                    *figures,
                    report.spread(faster),
                    f"{worst:.1e}",
                ]
            )
            report.say(" ".join(rows[-1]))
    columns = ["", "yxanul s", "lm-eval s", "best batch", "ratio", "largest difference"]
    report.show_table("log-likelihoods", columns, rows)
    report.write_results(options, "tasks", {"runs": found})


if __name__ == "__main__":
    main()
