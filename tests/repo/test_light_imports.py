"""Heavy packages load when they are needed, never before."""

import subprocess
import sys

HEAVY = ("torch", "pyarrow", "datasets", "tokenizers", "transformers", "tensorboard", "numpy")


def loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_light():
    modules = "yxanul.cli.app, yxanul.recipe, yxanul.model.zoo, yxanul.train.curriculum"
    assert not loaded_after(f"import {modules}").intersection(HEAVY)


def test_next_to_nothing_comes_before_signals_are_handled():
    loaded = loaded_after("import yxanul.cli") - loaded_after("import signal")
    assert loaded <= {
        "yxanul",
        "yxanul.cli",
        "yxanul.cli.entry",
        "yxanul.cli.signals",
        "contextlib",
    }


def test_without_torch():
    """Text is on its way into shards while torch, which takes a second, is loaded."""
    assert "torch" not in loaded_after("import yxanul.stages.resume, yxanul.cli.train")


HELP = """
import contextlib, io
from yxanul.cli.app import app
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    app(["--help"])
"""


def test_help_loads_nothing_heavy():
    """What people ask for first is there at once."""
    loaded = loaded_after(HELP)
    assert "yxanul.cli.run" in loaded
    assert not loaded.intersection((*HEAVY, "pydantic", "yaml", "multiprocessing"))
