"""Cost of the metrics: each group's record against a step, and the trainer with and without them.

    python benchmarks/metrics_cost.py --threads 2
    python benchmarks/metrics_cost.py --shape micro 51m --rounds 4 --steps 500

Costs: one group at a time is measured at every step of a training, beside the step without it. Its
share at the default cadence is seconds a record / (cadence x seconds a step), medians of all steps.
Overall: the trainer as `yxanul train` runs it, with the default cadences and with all of them null,
in turn (A B B A); a round is by default as long as it takes to record every group once. Both train
the same weights on the same batches. On a machine with other work, the costs are what to believe:
they are of one process, a step and its record at a time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import report
from harness.contenders import alternating, ratio
from harness.shapes import STEP_SHAPES
from harness.texts import prepare, write_corpus
from peers.ours_trainer import Training
from trainer import trainer_recipe
from yxanul.data.batches import Batch
from yxanul.monitor.config import Cadences
from yxanul.train.probes import Probes
from yxanul.train.trainer import Callback, StepReport, Trainer

GROUPS = tuple(Cadences.model_fields)
WARM_STEPS = 3
ON, OFF = "with metrics", "without"
WANTED = ("at most", 0.02)
"""Share of the time that all metrics may take at the default cadences."""


class TimedProbes(Callback):
    """Measures at every step, and notes the seconds of each record and of the step around it."""

    def __init__(self, group: str):
        every = dict.fromkeys(GROUPS) | {group: 1}
        self._probes, self._seconds = Probes(Cadences(**every)), 0.0
        self.records: list[float] = []
        self.steps: list[float] = []

    def after_first_backward(self, trainer: Trainer, batch: Batch, num_targets: int) -> None:
        """Measure the first micro-batch."""
        start = time.perf_counter()
        self._probes.after_first_backward(trainer.engine, batch, 1)
        self._seconds += time.perf_counter() - start

    def before_update(self, trainer: Trainer, batch: Batch) -> None:
        """Measure gradients and forward passes."""
        start = time.perf_counter()
        self._probes.before_update(trainer.engine, batch, 1)
        self._seconds += time.perf_counter() - start

    def after_step(self, trainer: Trainer, report: StepReport) -> None:
        """Finish the record."""
        start, within = time.perf_counter(), self._seconds
        self._probes.after_update(trainer.engine, report.applied)
        self.records.append(time.perf_counter() - start + within)
        self.steps.append(sum(report.seconds.values()) - within)
        self._seconds = 0.0


class Bench:
    """One shape, with text for it."""

    def __init__(self, name: str, options: argparse.Namespace, folder: Path):
        self.options, self.folder, self.shape = options, folder, STEP_SHAPES[name]
        num_bytes, corpus = int(options.megabytes * 1e6), folder / "corpus"
        write_corpus(corpus, num_bytes, 1, options.shared, options.seed)
        self.ready = prepare(folder, trainer_recipe(self.shape, corpus, num_bytes, options.seed))

    def costs(self) -> dict[str, dict[str, float]]:
        """Return the cost of every group: seconds a record, and its share of the time."""
        steps, found = self.options.cost_steps, {}
        training = self._training("costs", len(GROUPS) * (steps + WARM_STEPS), ON)
        for group in GROUPS:
            probes = TimedProbes(group)
            training.trainer.callbacks = [probes]
            training.round(steps + WARM_STEPS)
            record = statistics.median(probes.records[WARM_STEPS:])
            step = statistics.median(probes.steps[WARM_STEPS:])
            every = getattr(Cadences(), group)
            share = record / (every * step)
            found[group] = {"seconds": record, "step": step, "every": every, "share": share}
        return found

    def overall(self) -> dict[str, Any]:
        """Return the tokens a second with and without metrics, and their ratio by round."""
        steps, rounds = self.options.steps, self.options.rounds
        total = WARM_STEPS + rounds * steps
        trainings = {name: self._training(name.split()[0], total, name) for name in (ON, OFF)}
        for training in trainings.values():
            training.warm(WARM_STEPS)
        speeds: dict[str, list[float]] = {name: [] for name in trainings}
        for _, name in alternating(list(trainings), rounds):
            speeds[name].append(trainings[name].round(steps)["tokens_per_second"])
        return {"tokens_per_second": speeds, "ratio": ratio(speeds[ON], speeds[OFF])}

    def _training(self, run: str, steps: int, name: str) -> Training:
        """Open a training of so many steps, which has no checkpoint in it."""
        cadences = [] if name == ON else [f"monitor.every.{group}=null" for group in GROUPS]
        return Training(
            {
                "recipe": str(self.ready.recipe),
                "run": str(self.ready.new_run(self.folder / run)),
                "overrides": [
                    f"stages.0.budget={{steps: {steps + 1}}}",
                    "train.checkpoint.every_steps=1000000",
                    f"train.precision={self.options.precision}",
                    "monitor.trackers=[jsonl, tensorboard]",
                    *cadences,
                ],
            }
        )


def show(name: str, costs: Mapping[str, Mapping[str, float]], overall: Mapping[str, Any]) -> None:
    """Print the costs of a shape and what all of them come to."""
    rows = [
        [group, f"{one['seconds'] * 1e3:.1f}", f"{one['step'] * 1e3:.1f}", f"{one['every']:.0f}",
         f"{one['share']:.2%}"]
        for group, one in costs.items()
    ]  # fmt: skip
    columns = ["", "ms a record", "ms a step", "every", "share of the time"]
    report.show_table(f"{name}: all together {total_share(costs):.2%}", columns, rows)
    if overall:
        report.say(f"{name}: tokens/s {ON} / {OFF}: {report.spread(overall['ratio'])}")


def total_share(costs: Mapping[str, Mapping[str, float]]) -> float:
    """Return the share of the time that all groups take at their cadences."""
    return sum(one["share"] for one in costs.values())


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    add("--shape", nargs="+", choices=STEP_SHAPES, default=["micro"], metavar="NAME")
    add("--precision", choices=report.PRECISIONS, default="fp32")
    add("--cost-steps", type=int, default=20, help="steps in which each group is measured")
    add("--steps", type=int, default=500, help="steps of a round; 0 measures the costs only")
    add("--rounds", type=int, default=4)
    add("--seed", type=int, default=0)
    add("--megabytes", type=float, default=12.0, help="of text")
    add("--shared", type=Path, default=report.SHARED, help="folder of the shared texts")
    return report.parse(parser)


def main() -> None:
    """Measure every shape and write the results."""
    options, found = parse(), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.shape:
            bench = Bench(name, options, Path(folder) / name)
            costs, overall = bench.costs(), bench.overall() if options.steps else {}
            show(name, costs, overall)
            share = report.judge(total_share(costs), WANTED)
            found[name] = {"costs": costs, "share": share, "overall": overall}
    report.write_results(options, "metrics-cost", found)


if __name__ == "__main__":
    main()
