"""The inside of a contender's process: read a line of JSON, do it, answer with one.

The first line is the job; `contender` names a row of the table of peers. What libraries print goes
to standard error, as standard output is for answers.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from typing import Any

import torch

WORKS = {
    "step": "harness.stepping:Stepping",
    "decode": "harness.decoding:Decoding",
    "train": "harness.trainers.inside:make",
}


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work: Any = None
    for line in sys.stdin:
        message = json.loads(line)
        try:
            if work is None:
                work = _start(message)
                answer = work.describe()
            else:
                command = message.pop("command")
                answer = getattr(work, command)(**message)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _start(job: dict[str, Any]) -> Any:
    if job.get("threads"):
        torch.set_num_threads(job["threads"])
    if job["device"] == "cuda":
        torch.set_float32_matmul_precision("high")
    module, name = WORKS[job["work"]].split(":")
    return getattr(import_module(module), name)(job)


if __name__ == "__main__":
    main()
