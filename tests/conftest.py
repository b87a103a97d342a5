"""Fixtures that all tests share."""

import os
import shutil
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# For torch and for every process that a test starts: the models are too small to share.
os.environ["OMP_NUM_THREADS"] = "1"

COUNTERPARTS = ("transformers", "datasets", "torchao", "lm_eval", "wandb")
"""What the tests compare with: under CI a missing one is a failure, elsewhere its tests skip."""


def pytest_configure():
    missing = [package for package in COUNTERPARTS if find_spec(package) is None]
    if os.environ.get("CI") and missing:
        raise pytest.UsageError(f"CI has to install {', '.join(missing)}: tests compare with them")


def pytest_terminal_summary(terminalreporter):
    """Say in one line what was skipped, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    if reasons:
        why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"skipped: {why}")


settings.register_profile(
    "quick",
    deadline=None,  # a machine may be busy
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real text beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real text (shared/data) is absent")
    return folder


@pytest.fixture(scope="module")
def recipe(request, tmp_path_factory):
    """The file of the module's `RECIPE`, or of the tiny one."""
    from recipes import TINY, write_tiny

    text = getattr(request.module, "RECIPE", TINY)
    return write_tiny(tmp_path_factory.mktemp("recipe"), text)


@pytest.fixture(scope="module")
def prepared(recipe, tmp_path_factory):
    """A folder with the text of the module's recipe, and nothing trained."""
    from running import call

    out = tmp_path_factory.mktemp("prepared")
    assert call("prepare", recipe, "--out", out).code == 0
    return out


@pytest.fixture
def out(prepared, tmp_path):
    """A copy of the prepared folder, for one test."""
    return shutil.copytree(prepared, tmp_path / "run")


@pytest.fixture(scope="module")
def straight(recipe, prepared, tmp_path_factory):
    """The module's run that nothing disturbs."""
    from running import call

    out = shutil.copytree(prepared, tmp_path_factory.mktemp("straight") / "run")
    said = call("train", recipe, "--out", out)
    assert said.code == 0, said.err
    return out


@pytest.fixture(scope="session", autouse=True)
def _apart_from_the_machine(tmp_path_factory):
    """What the tests measure never reaches the user's cache, and they do not wait for the disk:
    none of them cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
