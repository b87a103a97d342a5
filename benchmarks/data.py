"""Time the data engine: text to shards against the two usual ways, reading batches, opening.

    make bench-data                         # installs the peers, runs on 200 MB of text
    python benchmarks/data.py --megabytes 20 --rounds 1

The text is written as JSON lines first (`harness/corpus.py`). Contenders turn it into GPT-2's ids,
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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.corpus import write_corpus
from harness.job import NUM_CORES, run_job
from harness.process import ContenderFailed
from harness.report import RESULTS, describe_machine, say, show_table, spread, write_results
from harness.rounds import alternating, ratios_of
from peers.preparing import PREPARERS

OURS = "yxanul"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PACKAGES = ("datasets", "tokenizers", "tiktoken", "gigatoken")
END_OF_TEXT = 50256
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
    """Run everything in `folder`; return the file of results but for the machine."""
    corpus, gpt2 = folder / "corpus", str(options.gpt2)
    num_bytes = int(options.megabytes * 1e6)
    made = write_corpus(corpus, num_bytes, options.files, options.shared, options.seed)
    say(f"text: {made}")
    first = run_job("peers.preparing:first_time", {"gpt2": gpt2})
    rounds = prepare_rounds(options, folder, made["text_bytes"])
    kept = {name: str(folder / name / "ids.bin") for name in rounds if name != OURS}
    shards = str(folder / OURS)
    arguments = {"corpus": str(corpus), "shards": shards, "others": kept}
    agreement = run_job("harness.reading:compare_ids", arguments | {"end_of_text": END_OF_TEXT})
    say(f"ids: {agreement}")
    reading = {
        str(seq_len): [
            run_job("harness.reading:read_batches", {"shards": shards, "seq_len": seq_len})
            for _ in range(options.rounds)
        ]
        for seq_len in options.seq_lens
    }
    opening = open_rounds(options, folder, gpt2)
    speeds = {name: [one["bytes_per_second"] for one in runs] for name, runs in rounds.items()}
    return {
        "text": made,
        "first_time": first,
        "agreement": agreement,
        "prepare": rounds,
        "ratios": ratios_of(speeds),
        "reading": reading,
        "opening": opening,
    }


def prepare_rounds(
    options: argparse.Namespace, folder: Path, text_bytes: int
) -> dict[str, list[dict[str, Any]]]:
    """Have every contender prepare the text in every round; the last round's files are kept."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in options.contenders}
    for number, name in alternating(options.contenders, options.rounds):
        out = folder / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        arguments = {"corpus": str(folder / "corpus"), "out": str(out), "gpt2": str(options.gpt2)}
        answer = run_job(PREPARERS[name], arguments)
        shutil.rmtree(out / "cache", ignore_errors=True)
        answer["bytes_per_second"] = text_bytes / answer["process_seconds"]
        runs[name].append(answer)
        say(f"round {number + 1}, {name}: {answer['process_seconds']:.1f} s")
    return runs


def open_rounds(options: argparse.Namespace, folder: Path, gpt2: str) -> list[dict[str, Any]]:
    """Make many small shards and open them."""
    corpus, out = folder / "small", folder / "many"
    write_corpus(corpus, options.shards * 10_000, options.shards, options.shared, options.seed)
    arguments = {"corpus": str(corpus), "out": str(out), "gpt2": gpt2}
    run_job("peers.preparing:yxanul_many", arguments)
    return [run_job("harness.reading:open_many", {"shards": str(out)}) for _ in range(5)]


def judge(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the figures that are asked for, beside what is asked."""
    ratios = found["ratios"].get(OURS, {})
    figures = {f"times {name}": ratio["median"] for name, ratio in ratios.items()}
    for seq_len, runs in found["reading"].items():
        speeds = [run["tokens_per_second"] for run in runs]
        figures[f"tokens/s at rows of {seq_len}"] = statistics.median(speeds)
    opened = [run["open_seconds"] for run in found["opening"]]
    figures["seconds to open many shards"] = statistics.median(opened)
    ours = found["prepare"].get(OURS, [])
    figures["peak bytes of preparing"] = max((run["peak_bytes"] for run in ours), default=0)
    reading = [run["peak_bytes"] for runs in found["reading"].values() for run in runs]
    figures["peak bytes of reading"] = max(reading)
    return {name: _verdict(name, figure) for name, figure in figures.items()}


def _verdict(name: str, figure: float) -> dict[str, Any]:
    how, bound = WANTED.get(name, ("", None))
    if bound is None:
        return {"found": figure}
    reached = figure >= bound if how == "at least" else figure < bound
    return {"found": figure, "wanted": f"{how} {bound:g}", "reached": reached}


def show(found: dict[str, Any]) -> None:
    """Print two tables."""
    ratios = found["ratios"].get(OURS, {})
    lines = []
    for name, runs in found["prepare"].items():
        speed = statistics.median(run["bytes_per_second"] for run in runs) / 1e6
        tokens = statistics.median(run["tokens"] / run["process_seconds"] for run in runs) / 1e6
        peak = max(run["peak_bytes"] for run in runs) / 1e6
        lines.append(
            [name, f"{speed:.1f}", f"{tokens:.2f}", f"{peak:,.0f}", spread(ratios.get(name))]
        )
    columns = ["", "MB/s", "M tokens/s", "peak MB", f"{OURS} / this"]
    show_table(f"text to token ids, {found['text']['text_bytes'] / 1e6:,.0f} MB", columns, lines)
    rows = [
        [name, f"{one['found']:,.4g}", str(one.get("wanted", "")), str(one.get("reached", ""))]
        for name, one in found["figures"].items()
    ]
    show_table("what is asked for", ["", "found", "wanted", "reached"], rows)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=200, help="of text")
    parser.add_argument("--files", type=int, default=16, help="that the text lies in")
    parser.add_argument("--shards", type=int, default=1000, help="to open")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each contender")
    parser.add_argument("--seq-lens", type=int, nargs="+", default=[256, 2048])
    parser.add_argument(
        "--contenders", nargs="+", choices=PREPARERS, default=list(PREPARERS), metavar="NAME"
    )
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of real text")
    parser.add_argument("--gpt2", type=Path, help="folder of encoder.json and vocab.bpe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder for gigabytes of temporary files")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
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
            say(f"FAILED: {error}")
            return 1
    agreement = found["agreement"]
    if not agreement["complete"] or any(agreement["differing"].values()):
        say(f"THE CONTENDERS' IDS DIFFER: {agreement}")
        return 1
    found["figures"] = judge(found)
    show(found)
    machine = describe_machine(NUM_CORES) | {name: _version(name) for name in PACKAGES}
    write_results(options.out, "data", "cpu", {"machine": machine, **found})
    return 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
