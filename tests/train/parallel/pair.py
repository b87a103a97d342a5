"""Processes that stay, joined over gloo, and run one function after another together."""

import multiprocessing
import os
import sys
import traceback
import warnings
from pathlib import Path

PATIENCE = 540.0
"""On a busy machine, importing FSDP alone takes minutes."""
ROOT = str(Path(__file__).parents[3])
"""What pytest names test modules from; a process that is spawned has to find them there, too."""


class Pair:
    """Some processes that wait for work. One that fails, or takes too long, ends them all."""

    def __init__(self, folder, size=2):
        self.folder, self.size, self.processes, self.pipes = folder, size, [], []
        self.starts = 0

    def run(self, function, *given):
        """Call `function(world, *given)` in each; return what each one did, first to last."""
        if not self.processes:
            self._start()
        for pipe in self.pipes:
            pipe.send((function, given))
        results, failed = [], []
        for rank, pipe in enumerate(self.pipes):
            # One that failed has left the others waiting for it.
            fine, result = (
                pipe.recv() if pipe.poll(5 if failed else PATIENCE) else (False, "silent")
            )
            results.append(result)
            if not fine:
                failed.append(f"process {rank}: {result}")
        if failed:
            self.end()
            raise RuntimeError("\n".join(failed))
        return results

    def end(self):
        """Kill the processes: they have nothing to finish."""
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.kill()
            process.join()
        self.processes, self.pipes = [], []

    def _start(self):
        if ROOT not in sys.path:
            sys.path.append(ROOT)  # the processes get this list
        context = multiprocessing.get_context("spawn")
        self.starts += 1
        store = self.folder / f"store-{self.starts}"
        for rank in range(self.size):
            ours, theirs = context.Pipe()
            given = (rank, self.size, str(store), theirs)
            process = context.Process(target=_serve, args=given, daemon=True)
            process.start()
            self.processes.append(process)
            self.pipes.append(ours)


def _serve(rank, size, store, pipe):
    import datetime

    import torch.distributed as dist

    from yxanul.train.parallel.world import World

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=datetime.timedelta(seconds=PATIENCE),
    )
    world = World(rank, size, rank)
    while True:
        try:
            function, given = pipe.recv()
        except EOFError:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                pipe.send((True, function(world, *given)))
        except BaseException:
            pipe.send((False, traceback.format_exc()))
