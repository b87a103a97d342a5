"""Data-engine benchmark: text to shards against the two usual ways, reading batches, opening.

    make bench-data                         # installs the peers, runs on 200 MB of text
    python benchmarks/data.py --megabytes 20 --rounds 1

The text is written as JSON lines first (`harness/texts.py`). Contenders turn it into GPT-2's ids,
each in a process of its own on two cores with two worker processes, in the order A B C C B A; the
time is from the start of the process to its end. `datasets` gets an empty cache every time. Their
ids are compared with ours document by document, and there is no result if one differs.

Memory is the resident memory of a process with all its workers, pages that they share counted in
each. Then all tokens are read once in the order of training, and 1,000 shards are opened.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import report
from harness.contenders import Contenders, figures, ratios_of, run_whole
from harness.process import ContenderFailed, run_function
from harness.texts import write_corpus
from peers import DATA

OURS = "yxanul"
OPENINGS = 5
WANTED = {
    "times datasets-tokenizers": ("at least", 3.0),
    "times datasets-tiktoken": ("at least", 1.5),
    "tokens/s at rows of 256": ("at least", 20e6),
    "tokens/s at rows of 2048": ("at least", 20e6),
    "seconds to open many shards": ("below", 1.0),
    "peak bytes of preparing": ("below", 1.5e9),
    "peak bytes of reading": ("below", 1.5e9),
}
"""What the project asks of itself, on 200 MB and 1,000 shards."""


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything in `folder`; return the results but for the machine."""
    corpus, gpt2, shards = folder / "corpus", str(options.gpt2), str(folder / OURS)
    made = write_corpus(
        corpus, int(options.megabytes * 1e6), options.files, options.shared, options.seed
    )
    report.say(f"text: {made}")
    first = run("warm_up", options, gpt2=gpt2)
    group = Contenders(DATA, options.contenders)

    def encode(name: str) -> dict[str, Any]:
        out = folder / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        job = {"corpus": str(corpus), "out": str(out), "gpt2": gpt2, "cores": options.threads}
        answer = run_whole(DATA[name], "data", job, cores=options.threads)
        shutil.rmtree(out / "cache", ignore_errors=True)
        report.say(f"{name}: {answer['process_seconds']:.1f} s")
        return answer | {"bytes_per_second": made["text_bytes"] / answer["process_seconds"]}

    rounds = group.rounds(options.rounds, encode)
    if OURS not in rounds:
        raise ContenderFailed(group.absent[OURS])
    others = {name: str(folder / name / "ids.bin") for name in rounds if name != OURS}
    agreement = run("compare_ids", options, corpus=str(corpus), shards=shards, others=others)
    report.say(f"ids: {agreement}")
    if not agreement["complete"] or any(agreement["differing"].values()):
        raise ContenderFailed("THE CONTENDERS' IDS DIFFER")
    reading = {
        str(length): [
            run("read_batches", options, shards=shards, seq_len=length)
            for _ in range(options.rounds)
        ]
        for length in options.seq_lens
    }
    return {
        "text": made,
        "first_time": first,
        "agreement": agreement,
        "prepare": rounds,
        "ratios": ratios_of(figures(rounds, "bytes_per_second")),
        "reading": reading,
        "opening": open_rounds(options, folder, gpt2),
        "absent": group.absent,
    }


def open_rounds(options: argparse.Namespace, folder: Path, gpt2: str) -> list[dict[str, Any]]:
    """Make many small shards and open them."""
    corpus, out = folder / "small", str(folder / "many")
    write_corpus(corpus, options.shards * 10_000, options.shards, options.shared, options.seed)
    run("many_shards", options, job={"corpus": str(corpus), "out": out, "gpt2": gpt2})
    return [run("open_many", options, shards=out) for _ in range(OPENINGS)]


def run(function: str, options: argparse.Namespace, **arguments: Any) -> dict[str, Any]:
    """Call a function of ours in a process of its own, on as many cores as the contenders have."""
    return run_function(DATA[OURS].call(function), arguments, cores=options.threads)


def judge(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the figures that are asked for, beside what is asked."""
    ours, reading = found["prepare"][OURS], found["reading"]
    measured = {f"times {name}": one["median"] for name, one in found["ratios"][OURS].items()}
    for length, speeds in figures(reading, "tokens_per_second").items():
        measured[f"tokens/s at rows of {length}"] = statistics.median(speeds)
    opened = statistics.median(one["open_seconds"] for one in found["opening"])
    measured |= {
        "seconds to open many shards": opened,
        "peak bytes of preparing": max(one["peak_bytes"] for one in ours),
        "peak bytes of reading": max(map(max, figures(reading, "peak_bytes").values())),
    }
    return {
        name: report.judge(figure, WANTED[name]) if name in WANTED else {"found": figure}
        for name, figure in measured.items()
    }


def show(found: dict[str, Any]) -> None:
    """Print two tables."""
    lines = []
    for name, runs in found["prepare"].items():
        speed = statistics.median(one["bytes_per_second"] for one in runs) / 1e6
        tokens = statistics.median(one["tokens"] / one["process_seconds"] for one in runs) / 1e6
        peak = max(one["peak_bytes"] for one in runs) / 1e6
        ratio = report.spread(found["ratios"][OURS].get(name))
        lines.append([name, f"{speed:.1f}", f"{tokens:.2f}", f"{peak:,.0f}", ratio])
    columns = ["", "MB/s", "M tokens/s", "peak MB", f"{OURS} / this"]
    report.show_table(
        f"text to token ids, {found['text']['text_bytes'] / 1e6:,.0f} MB", columns, lines
    )
    rows = [
        [name, f"{one['found']:,.4g}", str(one.get("wanted", "")), str(one.get("met", ""))]
        for name, one in found["figures"].items()
    ]
    report.show_table("what is asked for", ["", "found", "wanted", "met"], rows)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = report.make_parser(__doc__)
    parser.set_defaults(threads=2)
    report.add_contenders(parser, DATA, rounds=3)
    parser.add_argument("--megabytes", type=float, default=200, help="of text")
    parser.add_argument("--files", type=int, default=16, help="that the text lies in")
    parser.add_argument("--shards", type=int, default=1000, help="to open")
    parser.add_argument("--seq-lens", type=int, nargs="+", default=[256, 2048])
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="folder of real text")
    parser.add_argument("--gpt2", type=Path, help="folder of encoder.json and vocab.bpe")
    parser.add_argument("--work", type=Path, help="folder for gigabytes of temporary files")
    options = parser.parse_args(arguments)
    options.gpt2 = options.gpt2 or options.shared / "gpt2"
    if not (options.gpt2 / "encoder.json").is_file():
        parser.error(f"{options.gpt2} has no encoder.json: name a folder with --gpt2")
    if OURS not in options.contenders:
        parser.error(f"{OURS} is what the others are compared with")
    return options


def main() -> int:
    """Run the comparison; 1 if there is no result."""
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        try:
            found = measure(options, Path(folder))
        except ContenderFailed as error:
            report.say(f"FAILED: {error}")
            return 1
    found["figures"] = judge(found)
    show(found)
    report.write_results(options, "data", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
