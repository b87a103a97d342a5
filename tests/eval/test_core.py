"""CORE against functions written again from nanochat's definition, on the same logits."""

import json
import random

import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.eval import TaskOptions
from yxanul.eval.core import CORE, core_summary, evaluate_core
from yxanul.eval.run_tasks import TaskResult
from yxanul.eval.tasks import Estimate
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import ByteSettings

WORDS = ["red", "green", "blue", "round", "flat", "tall", "small", "loud", "soft", "warm", "cold"]
DRAW = random.Random(5)
CHOICES = [
    {
        "query": f"Question: Is it {DRAW.choice(WORDS)} or {DRAW.choice(WORDS)}?",
        "choices": [f"It is {word}" for word in DRAW.sample(WORDS, 3)],
        "gold": DRAW.randrange(3),
    }
    for _ in range(16)
]
SCHEMAS = [
    {
        "context_options": [
            f"The {word} one saw it, so the {word}" for word in DRAW.sample(WORDS, 2)
        ],
        "continuation": f"one was {DRAW.choice(WORDS)}.",
        "gold": DRAW.randrange(2),
    }
    for _ in range(16)
]
ANSWERS = [
    {"context": f" Say {DRAW.choice(WORDS)} again: ", "continuation": DRAW.choice(WORDS)[:1]}
    for _ in range(16)
]
FILES = {"arc_easy": CHOICES, "copa": CHOICES, "winograd_wsc": SCHEMAS, "jeopardy_all": ANSWERS}
LABELS = ("arc_easy", "copa", "winograd", "jeopardy")


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(ByteSettings(), lambda: [], SilentUi())


@pytest.fixture(scope="module")
def model(tokenizer):
    shape = {"width": 32, "depth": 2, "num_heads": 2, "max_seq_len": 512, "init_std": 0.3}
    model = LanguageModel(ModelSettings(**shape, vocab_size=tokenizer.vocab_size))
    model.init_weights(torch.Generator().manual_seed(8))
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("core")
    for stem, rows in FILES.items():
        (folder / f"{stem}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


class Reference:
    """One document at a time: prompts, positions of what is judged, verdict."""

    def __init__(self, model, tokenizer, max_tokens):
        self.model, self.tokenizer, self.max_tokens = model, tokenizer, max_tokens

    def is_right(self, rows, index, shots, delimiter):
        others = [n for n in range(len(rows)) if n != index]
        shots = [rows[n] for n in random.Random(1234 + index).sample(others, shots)]
        row = rows[index]
        if "choices" in row:
            begin = [f"{s['query']}{delimiter}{s['choices'][s['gold']]}\n\n" for s in shots]
            ends = [f"{row['query']}{delimiter}{choice}" for choice in row["choices"]]
            return self.lowest("".join(begin), ends, from_left=True) == row["gold"]
        if "context_options" in row:
            begin = [f"{s['context_options'][s['gold']]}{delimiter}{s['continuation']}\n\n"
                     for s in shots]  # fmt: skip
            ends = [f"{c}{delimiter}{row['continuation']}" for c in row["context_options"]]
            return self.lowest("".join(begin), ends, from_left=False) == row["gold"]
        begin = [f"{s['context'].strip()}{delimiter}{s['continuation']}\n\n" for s in shots]
        without = "".join(begin) + row["context"].strip() + delimiter
        start = len(self.tokens(without.strip()))
        tokens = self.tokens(without + row["continuation"])
        losses, predicted = self.forward(tokens)
        kept = len(losses) + 1
        return predicted[start - len(tokens) :] == tokens[-kept:][start - len(tokens) :]

    def lowest(self, begin, ends, from_left):
        rows = [self.tokens(begin + end) for end in ends]
        aligned = rows if from_left else [row[::-1] for row in rows]
        shared = 0
        while all(len(row) > shared and row[shared] == aligned[0][shared] for row in aligned):
            shared += 1
        means = []
        for row in rows:
            judged = len(row) - shared if from_left else shared
            means.append(sum(self.forward(row)[0][-judged:]) / judged)
        return means.index(min(means))

    def tokens(self, text):
        return [self.tokenizer.bos_id, *self.tokenizer.encode(text)]

    @torch.no_grad()
    def forward(self, tokens):
        """Return loss and prediction of every token but the first, after a cut on the left."""
        ids = torch.tensor([tokens[-self.max_tokens :]])
        logits = self.model.logits(self.model.hidden(ids))[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        return losses.tolist(), logits.argmax(-1).tolist()


@pytest.mark.parametrize("seq_len", [512, 150, 64])
def test_it_agrees_with_the_reference(model, tokenizer, folder, seq_len):
    results = evaluate_core(model, tokenizer, folder, TaskOptions(seq_len=seq_len, limit=14))
    assert set(results) == set(LABELS)
    reference = Reference(model, tokenizer, seq_len)
    verdicts = set()
    for label in LABELS:
        task = CORE[label]
        stem = next(s for s in FILES if s.startswith(label))
        rows = list(FILES[stem])
        random.Random(1337).shuffle(rows)
        rows = rows[:14]
        expected = [
            reference.is_right(rows, index, task.num_fewshot, task.delimiter)
            for index in range(len(rows))
        ]
        (metric,) = results[label].metrics
        assert results[label].values(metric) == expected, label
        verdicts |= set(expected)
    assert verdicts == {True, False}


def result_of(value):
    return TaskResult((), {"accuracy": Estimate(value, 0.0)}, 0.0)


def test_a_context_above_that_of_the_model_is_refused(model, tokenizer, folder):
    longest = model.settings.max_seq_len
    with pytest.raises(YxanulError, match=f"got {longest + 1}; expected at most {longest}"):
        evaluate_core(model, tokenizer, folder, TaskOptions(seq_len=longest + 1))


def test_the_score_is_the_mean_above_chance():
    perfect = core_summary({label: result_of(1.0) for label in CORE})
    assert perfect["core"] == pytest.approx(1) and perfect["missing"] == []
    guessed = core_summary({label: result_of(task.baseline) for label, task in CORE.items()})
    assert guessed["core"] == pytest.approx(0)
    some = core_summary({"copa": result_of(0.75), "boolq": result_of(0.62)})
    assert some["core"] is None and some["mean_of_present"] == pytest.approx(0.25)
    assert len(some["missing"]) == len(CORE) - 2 == 20
