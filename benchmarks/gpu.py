"""Everything that needs a GPU, in four parts of less than ten minutes each.

    make gpu PART=1                              # with the machine's own Python, torch and triton
    python benchmarks/gpu.py --part 3 --dry-run  # the same commands, small, on a CPU

1: every CUDA path against its reference (tests/gpu, attention back ends). 2: a whole run of the
quickstart, and verify-resume. 3: the training step at 28 x 768 and gemma3-270m against peers.
4: decoding at 28 x 768. Each part leaves a summary in results/, the benchmarks their result files.

A machine without network needs wheels, made elsewhere with the same Python:
    pip download -d wheels -c constraints.txt pydantic typer rich pyyaml tokenizers safetensors \
        numpy jinja2 pytest hypothesis pytest-timeout
    pip install --no-index --find-links wheels --no-deps wheels/*.whl
torchao (fp8) and datasets (the hub) are optional: what needs them is skipped and named.
"""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "torch", "pydantic", "typer", "rich", "yaml", "tokenizers", "safetensors", "numpy", "jinja2",
    "pytest", "hypothesis", "pytest_timeout",
)  # fmt: skip
LIMIT_SECONDS = 570.0
"""Of a part: a command that has no time left is stopped, and the summary says so."""
PYTEST = (sys.executable, "-m", "pytest", "-q", "-rs", "--timeout", "500")
YXANUL = (sys.executable, "-m", "yxanul")
KERNELS = ("tests/gpu", "tests/contracts/test_attention.py", "tests/model/attention")


def commands(part: int, dry_run: bool, scratch: Path) -> list[tuple[str, ...]]:
    """Return the commands of a part."""
    step, decode = (
        (sys.executable, str(ROOT / "benchmarks" / name)) for name in ("step.py", "decode.py")
    )
    small = ("--shapes", "tiny", "--rounds", "2")
    out = ("--out", str(scratch)) if dry_run else ()
    if part == 1:
        return [(*PYTEST, *(("--collect-only",) if dry_run else ()), *KERNELS)]
    if part == 2:
        tiny = ("stages.0.budget={steps: 3}", "stages.1.budget={steps: 3}") if dry_run else ()
        loose = (f"stages.{number}.gate={{default_rules: false, rules: []}}" for number in (0, 1))
        run = ("quickstart", "--out", str(scratch / "run"), "--json")
        return [
            (*YXANUL, "run", *run, *tiny, *(loose if dry_run else ())),
            (*YXANUL, "verify-resume", *run, "--steps", "4" if dry_run else "100", *tiny),
        ]
    if part == 3:
        if dry_run:
            return [(*step, *small, *out, "--steps", "2", "--contenders", "yxanul")]
        shapes = ("--shapes", "28x768-50k", "yxanul-177m", "gemma3-270m", "--precisions", "bf16")
        return [(*step, "--device", "cuda", *shapes, "--rounds", "4", "--seconds", "2")]
    if dry_run:
        return [(*decode, *small, *out, "--repeats", "1", "--contenders", "yxanul")]
    sizes = ("--precisions", "fp32", "bf16", "--batches", "1", "8", "--rounds", "4")
    return [(*decode, "--device", "cuda", "--shapes", "28x768-50k", *sizes, "--seconds", "2")]


def run(command: tuple[str, ...], seconds: float) -> dict[str, Any]:
    """Run a command, its output shown; return its exit code, None if it ran out of time."""
    print("$", " ".join(command), flush=True)
    start = time.monotonic()
    try:
        code = subprocess.run(command, cwd=ROOT, timeout=max(1.0, seconds)).returncode
    except subprocess.TimeoutExpired:
        code = None
    return {
        "command": [word.replace(str(ROOT), ".") for word in command[1:]],
        "exit_code": code,
        "seconds": round(time.monotonic() - start, 1),
    }


def main() -> int:
    """Run a part; the exit code is 1 if any of its commands failed."""
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        print(f"missing packages: {', '.join(missing)}\n\n{__doc__}")
        return 2
    import tempfile

    from harness.report import make_parser, write_results

    parser = make_parser(__doc__)
    parser.add_argument("--part", type=int, choices=(1, 2, 3, 4), required=True)
    parser.add_argument("--dry-run", action="store_true", help="small, on a CPU")
    options = parser.parse_args()
    import torch

    if not options.dry_run and not torch.cuda.is_available():
        print("no GPU is visible to torch; --dry-run tries the commands on a CPU")
        return 2
    deadline = time.monotonic() + LIMIT_SECONDS
    with tempfile.TemporaryDirectory() as scratch:
        done = [
            run(command, deadline - time.monotonic())
            for command in commands(options.part, options.dry_run, Path(scratch))
        ]
    device = "dry-run" if options.dry_run else "cuda"
    optional = {name: find_spec(name) is not None for name in ("torchao", "datasets", "flash_attn")}
    summary = {"optional": optional, "commands": done}
    write_results(options, f"gpu-part-{options.part}", summary, device)
    return int(any(one["exit_code"] != 0 for one in done))


if __name__ == "__main__":
    sys.exit(main())
