"""Names benchmark: in how many of a model's stories do the names stay the same?

    python benchmarks/names.py runs/quickstart --samples 40

The stories are written as the demo writes its last one: the same prompt, the same temperature. A
script reads the names in each, those of the puzzles too. The first is the hero's. A story keeps its
names when no third one occurs, and when the hero's friend is introduced as the synthetic text
introduces one: "her friend Tom", "his best friend was Mia". The synthetic text itself is judged
first; it has to keep all of its names, or the judge is wrong.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import report
from yxanul.bundle import open_bundle
from yxanul.generate.decode import complete
from yxanul.stages.summary import SAMPLING
from yxanul.text.sources.builtin import stories
from yxanul.text.sources.builtin.stories import tales
from yxanul.text.sources.builtin.word_files import names

CAST = {*names(), *(str(tale.cast[who]) for tale in tales() for who in ("hero", "friend"))}
NAME = re.compile(rf"\b({'|'.join(sorted(CAST))})\b")
INTRODUCED = re.compile(rf"\bfriend(?:,| was)? {NAME.pattern}")


def keeps_names(story: str) -> bool:
    """Tell whether a story has a hero, and nobody else but one friend who is introduced first."""
    hero, *others = dict.fromkeys(NAME.findall(story)) or [""]
    if not others:
        return bool(hero)
    first = next(found for found in NAME.finditer(story) if found[0] == others[0])
    met = INTRODUCED.search(story)
    return len(others) == 1 and met is not None and met.start(1) == first.start()


def told_by(run: Path, prompt: str, num_samples: int, seed: int) -> list[str]:
    """Return stories of a run's best checkpoint."""
    bundle = open_bundle(run)
    settings = SAMPLING.model_copy(update={"num_samples": num_samples, "seed": seed})
    told = complete(bundle.model, bundle.tokenizer, prompt, settings)
    return [prompt + one.text for one in told]


def judged(told: Sequence[str]) -> dict[str, Any]:
    """Return the figures of some stories, and those that mix their names."""
    mixed = [story for story in told if not keeps_names(story)]
    return {"stories": len(told), "keep their names": len(told) - len(mixed), "mixed": mixed}


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge the synthetic text, then each run, and write what was found."""
    parser = report.make_parser(__doc__)
    parser.add_argument("runs", type=Path, nargs="*", help="run folders")
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--samples", type=int, default=40, help="stories of each run")
    parser.add_argument("--seed", type=int, default=0)
    options = report.parse(parser, arguments)
    found = {"synthetic text": judged([stories.document(n, options.seed) for n in range(1000)])}
    for run in options.runs:
        told = told_by(run, options.prompt, options.samples, options.seed)
        found[str(run)] = judged(told)
    figures = ("stories", "keep their names")
    rows = [[name, *(str(one[figure]) for figure in figures)] for name, one in found.items()]
    report.show_table("names", ["", *figures], rows)
    report.write_results(options, "names", {"texts": found})


if __name__ == "__main__":
    sys.exit(main())
