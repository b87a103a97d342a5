"""Heavy packages load when they are needed, never before."""

import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "pyarrow", "datasets", "tokenizers", "transformers", "tensorboard", "numpy")


def loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["yxanul", "yxanul.cli.app", "yxanul.recipe", "yxanul.model.zoo", "yxanul.train.curriculum"],
)
def test_light(module):
    assert not loaded_after(f"import {module}").intersection(HEAVY)


def test_next_to_nothing_comes_before_signals_are_handled():
    loaded = loaded_after("import yxanul.cli") - loaded_after("import signal")
    assert loaded == {"yxanul", "yxanul.cli"}


@pytest.mark.parametrize("module", ["yxanul.data.encode", "yxanul.text.sources"])
def test_without_torch(module):
    assert "torch" not in loaded_after(f"import {module}")


def seconds_of_help() -> float:
    """Return what it takes of a core: others may use this machine."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "yxanul", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_help_is_fast():
    """It takes 0.25 s on a quiet machine; the best of three."""
    assert min(seconds_of_help() for _ in range(3)) < 0.5
