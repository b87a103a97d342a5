"""Checkpoints written beside the training: the same files, at once from the caller's view."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
import torch

from running import files_of
from yxanul.base.errors import YxanulError
from yxanul.checkpoint import background
from yxanul.checkpoint.background import CheckpointWriter, copy_to_cpu
from yxanul.checkpoint.keep import read_best, rotate, write_best
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.checkpoint.read import read_checkpoint, verify_checkpoint
from yxanul.checkpoint.write import write_checkpoint

PATIENCE = 240  # seconds until a test that waits for something gives up


def model(value=1.0):
    return {"model": {"w": torch.full((40, 50), value)}, "optimizer": {"m.w": torch.ones(40)}}


def odd_tensors():
    """All that is hard to copy: turned, empty, stretched, of every kind."""
    table = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    named = {
        "embed": table,
        "turned": table.clone().mT,
        "parameter": torch.nn.Parameter(table.clone()),
        "stretched": torch.ones(1, 3).expand(5, 3),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 4),
        "also empty": torch.zeros(0, 4),
    }
    kinds = (torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool)
    named |= {str(kind): (table * 9).to(kind) for kind in kinds}
    return {"model": named, "optimizer": {"embed": table, "m": torch.ones(2)}, "ema": {}}


def test_where_no_thread_can_be_started_it_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    with closing(CheckpointWriter(tmp_path)) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            writer.submit(1, model(), {})
        writer.submit(2, model(2.0), {})
        writer.wait()
    for step, value in ((1, 1.0), (2, 2.0)):
        assert read_checkpoint(tmp_path / f"step-{step:08}")[0]["model"]["w"].unique() == value


def once_waiting(action):
    """Do it once the main thread waits for a save."""

    def look():
        frame = sys._current_frames()[threading.main_thread().ident]
        while frame is not None and frame.f_code is not CheckpointWriter.wait.__code__:
            frame = frame.f_back
        return frame is not None

    def work():
        end = time.monotonic() + PATIENCE
        while not look() and time.monotonic() < end:
            time.sleep(0.005)
        action()

    threading.Thread(target=work).start()


class Gate:
    """Holds every write until it is opened; notes what has begun."""

    def __init__(self):
        self.opened, self.begun = threading.Event(), []

    def __call__(self, folder, step, tensors, state):
        self.begun.append(step)
        assert self.opened.wait(PATIENCE)
        return write_checkpoint(folder, step, tensors, state)

    def wait_for(self, steps):
        end = time.monotonic() + PATIENCE
        while self.begun != steps and time.monotonic() < end:
            time.sleep(0.001)
        assert self.begun == steps


@pytest.fixture
def gate(monkeypatch):
    gate = Gate()
    monkeypatch.setattr(background, "write_checkpoint", gate)
    yield gate
    gate.opened.set()


@pytest.fixture
def full_disk(monkeypatch):
    def fail(folder, step, tensors, state):
        raise YxanulError(f"the checkpoint of step {step} could not be written", got="no space")

    monkeypatch.setattr(background, "write_checkpoint", fail)


def test_the_files_are_those_of_the_foreground_to_the_bit(tmp_path):
    state = {"step": 3, "nested": {"a": [1, 2.5, None, float("inf")]}}
    write_checkpoint(tmp_path / "plain", 3, odd_tensors(), state)
    for name, beside in (("beside", True), ("before", False)):
        with closing(CheckpointWriter(tmp_path / name, background=beside)) as writer:
            for _ in range(2):  # the second from buffers that were used before
                writer.submit(3, odd_tensors(), state)
        assert files_of(tmp_path / name) == files_of(tmp_path / "plain")


def test_submit_returns_before_the_write_and_what_changes_then_does_not_count(tmp_path, gate):
    tensors, state = model(1.0), {"losses": [1.0]}
    with closing(CheckpointWriter(tmp_path)) as writer:
        writer.submit(1, tensors, state)
        gate.wait_for([1])
        assert checkpoint_steps(tmp_path) == []
        tensors["model"]["w"].fill_(9.0)
        state["losses"].append(2.0)
        gate.opened.set()
    loaded, plain = read_checkpoint(tmp_path / "step-00000001")
    assert loaded["model"]["w"].unique().tolist() == [1.0] and plain == {"losses": [1.0]}


def test_a_second_save_waits_for_the_first(tmp_path, gate):
    with closing(CheckpointWriter(tmp_path)) as writer:
        writer.submit(1, model(1.0), {})
        gate.wait_for([1])
        before = writer.seconds_blocked
        once_waiting(gate.opened.set)
        writer.submit(2, model(2.0), {})
        assert checkpoint_steps(tmp_path)[0] == 1
        assert writer.seconds_blocked > before
    for step in (1, 2):
        loaded, _ = read_checkpoint(tmp_path / f"step-0000000{step}")
        assert loaded["model"]["w"].unique().tolist() == [step]


def test_wait_means_on_the_disk_and_check_waits_for_nothing(tmp_path, gate):
    with closing(CheckpointWriter(tmp_path)) as writer:
        writer.wait()
        writer.submit(1, model(), {})
        writer.check()
        assert checkpoint_steps(tmp_path) == []
        gate.opened.set()
        writer.wait()
        verify_checkpoint(tmp_path / "step-00000001")


def test_what_follows_runs_in_the_thread_with_the_checkpoint_on_disk(tmp_path):
    seen = []

    def after(step):
        seen.append((threading.current_thread() is threading.main_thread(), step))
        verify_checkpoint(tmp_path / "c" / f"step-{step:08d}")
        write_best(tmp_path, step, "val/loss", 1 / step)
        rotate(tmp_path / "c", keep=1, best=2)

    with closing(CheckpointWriter(tmp_path / "c")) as writer:
        for step in (1, 2, 3, 4):
            writer.submit(step, model(), {}, lambda step=step: after(step))
    assert seen == [(False, step) for step in (1, 2, 3, 4)]
    assert checkpoint_steps(tmp_path / "c") == [2, 4]
    best = read_best(tmp_path)
    assert best is not None and best.step == 4


CALLS = {
    "submit": lambda writer: writer.submit(8, model(), {}),
    "wait": CheckpointWriter.wait,
    "check": CheckpointWriter.check,
    "close": CheckpointWriter.close,
}


@pytest.mark.parametrize("method", CALLS)
def test_an_error_of_the_thread_is_raised_by_the_next_call_and_once(tmp_path, full_disk, method):
    writer = CheckpointWriter(tmp_path)
    writer.submit(7, model(), {})
    assert writer._save is not None and writer._save.exception(PATIENCE)
    with pytest.raises(YxanulError, match=r"step 7 .* no space"):
        CALLS[method](writer)
    writer.check()
    writer.close()


def test_after_an_error_the_writer_still_writes(tmp_path, full_disk, monkeypatch):
    with closing(CheckpointWriter(tmp_path)) as writer:
        writer.submit(1, model(), {})
        with pytest.raises(YxanulError, match="step 1"):
            writer.wait()
        monkeypatch.undo()
        writer.submit(2, model(), {})
    assert checkpoint_steps(tmp_path) == [2]


def test_a_save_that_failed_outranks_what_ended_the_block(tmp_path, full_disk):
    with (
        pytest.raises(YxanulError, match="step 1") as caught,
        closing(CheckpointWriter(tmp_path)) as writer,
    ):
        writer.submit(1, model(), {})
        raise KeyError("the cause")
    assert isinstance(caught.value.__context__, KeyError)


def test_what_ends_the_block_waits_for_the_save(tmp_path, gate):
    with pytest.raises(KeyError), closing(CheckpointWriter(tmp_path)) as writer:
        writer.submit(1, model(), {})
        once_waiting(gate.opened.set)
        raise KeyError
    verify_checkpoint(tmp_path / "step-00000001")


@pytest.mark.parametrize("beside", [True, False])
def test_an_error_of_what_follows_is_one_line_and_a_bug_stays_a_bug(tmp_path, beside):
    def fail(error):
        raise error

    no_space = OSError(errno.ENOSPC, "No space left")
    writer = CheckpointWriter(tmp_path, background=beside)
    with pytest.raises(YxanulError, match=r"step 1 was written, but .*No space left") as caught:
        writer.submit(1, model(), {}, lambda: fail(no_space))
        writer.wait()
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ZeroDivisionError):
        writer.submit(2, model(), {}, lambda: fail(ZeroDivisionError()))
        writer.wait()
    assert checkpoint_steps(tmp_path) == [1, 2]


def test_a_state_that_is_not_plain_is_refused_at_once(tmp_path):
    with closing(CheckpointWriter(tmp_path)) as writer, pytest.raises(TypeError, match="JSON"):
        writer.submit(1, model(), {"a": {1, 2}})
    assert list(tmp_path.iterdir()) == []


def test_the_same_memory_serves_every_save():
    tensors = odd_tensors()
    copies = copy_to_cpu(tensors, {})
    places = {name: tensor.data_ptr() for name, tensor in copies["model"].items()}
    for _ in range(3):
        copies = copy_to_cpu(tensors, copies)
        assert {name: tensor.data_ptr() for name, tensor in copies["model"].items()} == places


def test_memory_that_does_not_fit_is_not_reused():
    copies = copy_to_cpu({"model": {"a": torch.ones(9), "b": torch.ones(9)}}, {})
    copies = copy_to_cpu({"model": {"a": torch.ones(4)}}, copies)
    assert list(copies["model"]) == ["a"] and copies["model"]["a"].tolist() == [1.0] * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_from_a_gpu_through_pinned_memory():
    table = torch.randn(2000, 2000, device="cuda")
    wanted, copies = table.cpu(), {}
    for _ in range(3):
        copies = copy_to_cpu({"model": {"a": table}}, copies)
        table.add_(1.0)  # at once, on the same stream: the copy must be complete
        assert copies["model"]["a"].is_pinned()
        assert torch.equal(copies["model"]["a"], wanted)
        wanted = table.cpu()


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a program of its own: whoever runs the tests may have switched it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_gets_through_a_wait_and_the_save_goes_on(tmp_path, gate, ctrl_c):
    writer = CheckpointWriter(tmp_path)
    writer.submit(1, model(), {})
    with pytest.raises(KeyboardInterrupt):
        once_waiting(lambda: os.kill(os.getpid(), signal.SIGINT))
        writer.wait()
    assert checkpoint_steps(tmp_path) == []
    once_waiting(gate.opened.set)
    writer.close()  # waits again: it does not take the thread for dead
    verify_checkpoint(tmp_path / "step-00000001")


LEAVING = """
import pathlib, sys, time, torch
from concurrent.futures import thread
from yxanul.checkpoint import background
real = background.write_checkpoint
def slow(*args):
    while not thread._shutdown:  # the process is ending
        time.sleep(0.005)
    return real(*args)
background.write_checkpoint = slow
writer = background.CheckpointWriter(pathlib.Path(sys.argv[1]))
writer.submit(1, {"model": {"w": torch.zeros(1000)}}, {})
if sys.argv[2] == "raise":
    raise SystemExit("the cause")
"""


@pytest.mark.parametrize(
    ("how", "code"), [pytest.param("end", 0, marks=pytest.mark.slow), ("raise", 1)]
)
def test_a_process_that_ends_finishes_its_save_and_does_not_hang(tmp_path, how, code):
    command = [sys.executable, "-c", LEAVING, str(tmp_path), how]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == code
    assert result.stderr == ("the cause\n" if code else "")
    verify_checkpoint(tmp_path / "step-00000001")
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
