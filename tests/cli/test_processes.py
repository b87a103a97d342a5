"""Number of training processes on a CPU: several where others keep its cores busy."""

from pathlib import Path

import pytest

from recipes import TINY, write_tiny
from running import call, ledger_of
from yxanul.base import machine
from yxanul.cli import run
from yxanul.cli.run import RunRequest, num_devices
from yxanul.recipe import load_recipe

MINUTES = ("stages.0.budget={minutes: 1}",)


def test_a_core_is_free_if_it_is_idle_most_of_the_time(monkeypatch):
    before = {0: (10, 20), 1: (10, 20), 2: (10, 20), 3: (0, 0), 7: (1, 2)}
    after = {0: (10, 40), 1: (19, 40), 2: (21, 40), 3: (0, 0)}  # a core that has no clock, one gone
    looks = iter([before, after])
    monkeypatch.setattr(machine, "_core_times", lambda: next(looks))
    monkeypatch.setattr(machine, "_visible_cores", lambda: 5)
    assert machine.free_cores(0) == 3


def test_this_machine_is_read_or_unknown():
    assert all(0 <= idle <= total for idle, total in machine._core_times().values())
    assert machine.free_cores(0) == machine._visible_cores(), "no time has passed"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        (["max 100000"], 8),
        (["250000 100000"], 3),
        (["5000 100000"], 1),
        (["200000", "100000"], 2),
        (["-1", "100000"], 8),
        ([""], 8),
        ([], 8),
    ],
)
def test_a_containers_quota_bounds_the_cores(files, cores, tmp_path, monkeypatch):
    paths = [tmp_path / str(number) for number in range(max(1, len(files)))]
    for path, text in zip(paths, files, strict=False):
        path.write_text(f"{text}\n")
    monkeypatch.setattr(machine, "_QUOTA_FILES", (tuple(paths),))
    monkeypatch.setattr(machine, "_visible_cores", lambda: 8)
    assert machine.usable_cores() == cores


@pytest.fixture
def taken(monkeypatch):
    """The number of taken cores of four, which the test sets."""
    cores = {"taken": 4}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(run, "usable_cores", lambda: 4)
    monkeypatch.setattr(run, "free_cores", lambda: 4 - cores["taken"])
    monkeypatch.setattr(run, "_GPU_FILES", ())
    return cores


def chosen(tmp_path, *overrides, devices=None):
    recipe = write_tiny(tmp_path)
    request = RunRequest("run", str(recipe), overrides, tmp_path / "run", devices=devices)
    return num_devices(request, load_recipe(str(recipe), list(overrides)))


def test_one_process_a_core_if_most_are_taken(tmp_path, taken, capsys):
    assert chosen(tmp_path, *MINUTES) == 4
    assert "other processes are using the CPU" in capsys.readouterr().err
    assert chosen(tmp_path, *MINUTES, "train.strategy=ddp") == 4
    capsys.readouterr()
    taken["taken"] = 2
    assert chosen(tmp_path, *MINUTES) == 1, "half of them are free"
    assert not capsys.readouterr().err


def test_what_else_decides(tmp_path, taken, monkeypatch):
    assert chosen(tmp_path, *MINUTES, devices=2) == 2
    assert chosen(tmp_path) == 1, "no minutes are shared"
    assert chosen(tmp_path, *MINUTES, "train.strategy=fsdp") == 1
    with monkeypatch.context() as patch:
        patch.setattr("yxanul.plan.preflight.of_memory", lambda recipe, processes: ["too large"])
        assert chosen(tmp_path, *MINUTES) == 1
    assert chosen(tmp_path, *MINUTES) == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(run, "free_cores", lambda: pytest.fail("looked"))
    assert chosen(tmp_path, *MINUTES) == 1, "the user decides"


def test_a_run_keeps_its_number(tmp_path, taken, monkeypatch):
    recipe = write_tiny(tmp_path, TINY)
    said = call("run", recipe, "--devices", "1", "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert ledger_of(tmp_path / "run")["decisions"]["processes"] == 1
    monkeypatch.setattr(run, "free_cores", lambda: pytest.fail("looked"))
    assert chosen(tmp_path, *MINUTES) == 1
    path = Path(tmp_path / "run" / "ledger.json")
    path.write_text(path.read_text().replace('"processes": 1', '"processes": 3'))
    assert chosen(tmp_path, *MINUTES) == 3
    assert chosen(tmp_path, *MINUTES, devices=1) == 1
