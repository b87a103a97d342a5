"""Several processes on this machine: they train as one does, and end together, in one line."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes import TINY, write_tiny
from running import (
    await_end,
    children_of,
    lines_of,
    newest,
    series,
    start,
    step_of,
    steps_of,
)
from yxanul.base.errors import Interrupted, YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.checkpoint.read import read_checkpoint
from yxanul.cli.run import RunRequest, _error_of, num_devices, start_children
from yxanul.model.config import ModelSettings
from yxanul.model.count import flops_per_token
from yxanul.train.micro_batch import micro_batches
from yxanul.train.parallel import world
from yxanul.train.parallel.worker_group import ExitReport, WorkerGroup, end_with_parent

STEPS = 40
RECIPE = (
    TINY.replace("steps: 14", f"steps: {STEPS - 10}")
    .replace("keep: 2", "keep: 3")
    # Adam turns the rounding of a gradient near zero into a step of full size, unless eps is large.
    .replace("peak_lr: 1e-2", "peak_lr: 3e-3, eps: 1e-5")
)
ENDLESS = RECIPE.replace(f"steps: {STEPS - 10}", "steps: 100000").replace(
    "{every_steps: 5,", "{every_steps: 100000,"
)


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("endless"), ENDLESS)


@pytest.fixture
def begin(out, tmp_path):
    """A function that starts to train; whatever is left of it is ended."""
    begun = []

    def begin(recipe, *arguments, **more):
        log = tmp_path / f"log-{len(begun)}.txt"
        given = ("train", recipe, "--out", out, *arguments)
        begun.append(start(log, *given, GLOO_SOCKET_IFNAME="lo", **more))
        return begun[-1]

    yield begin
    for program in begun:
        if not program.log.closed:
            for child in children_of(program.process.pid):
                os.kill(child, signal.SIGKILL)
            program.kill()


def kill_rank(program, rank):
    """Kill -9 a child of the program."""
    for child in children_of(program.process.pid):
        if f"RANK={rank}" in Path(f"/proc/{child}/environ").read_text().split("\0"):
            os.kill(child, signal.SIGKILL)
            return
    raise AssertionError(f"no process {rank}")


def assert_close(out, straight, tolerance=1e-5):
    """The same curve, the same text read, the same weights: but for the order of a sum."""
    assert series(out, "step") == series(straight, "step")
    ours, theirs = series(out, "train/loss"), series(straight, "train/loss")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    (tensors, state), (wanted, other) = (read_checkpoint(newest(one)) for one in (out, straight))
    assert state["progress"]["cursor"] == other["progress"]["cursor"]
    assert state["progress"]["step"] == other["progress"]["step"]
    for name, tensor in wanted["model"].items():
        np.testing.assert_allclose(tensors["model"][name], tensor, rtol=0, atol=1e-4, err_msg=name)


def assert_mfu_is_of_both(out):
    """Tokens of two processes are held against the peak of two."""
    about = json.loads((out / "environment.json").read_text())
    peak = about["devices"] * about["peak_flops"]["flops_per_second"]
    _, state = read_checkpoint(newest(out))
    model = ModelSettings(**state["model"])
    for line in lines_of(out):
        if "perf/mfu" in line:
            flops = flops_per_token(model, line["data/sequence_length"]).total
            wanted = line["perf/tokens_per_second"] * flops / peak
            assert line["perf/mfu"] == pytest.approx(wanted)


# Their rows


@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 9))
def test_every_row_is_read_once_in_as_many_micro_batches(num_rows, micro_rows, size):
    rows = list(range(num_rows))
    shares = [micro_batches(rows, micro_rows, rank, size) for rank in range(size)]
    assert [row for share in shares for batch in share for row in batch] == rows
    assert len({len(share) for share in shares}) == 1
    assert all(len(batch) <= micro_rows for share in shares for batch in share)
    per_rank = [sum(map(len, share)) for share in shares]
    assert max(per_rank) - min(per_rank) <= 1
    assert len(shares[0]) == -(-max(per_rank) // micro_rows)  # and none more than it takes


# Runs


def test_two_processes_train_as_one_does(recipe, straight, out, begin):
    said = begin(recipe, "--devices", 2).end()
    assert said.code == 0, said.err
    assert_close(out, straight)
    assert read_checkpoint(newest(out))[1]["devices"] == 2
    assert said.err.count("the first step") == 1
    assert not list(out.glob("checkpoints/.*"))
    assert_mfu_is_of_both(out)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_more_and_fewer_processes_go_on(recipe, straight, out, begin, seed):
    """1 -> 2 -> 1, each stopped at a moment of its own."""
    moments = random.Random(seed)
    ends = sorted(moments.sample(range(2, STEPS - 4), 2))
    for devices, end in zip((1, 2), ends, strict=True):
        program = begin(recipe, "--devices", devices)
        program.until(lambda end=end: step_of(out) >= end)
        program.process.send_signal(signal.SIGTERM)
        said = program.end()
        assert said.code in (0, 143), said.err
    said = begin(recipe).end()
    assert said.code == 0, said.err
    assert_close(out, straight)


@pytest.mark.slow
def test_one_that_is_killed_ends_all_in_one_line(endless, out, begin):
    program = begin(endless, "--devices", 2)
    program.until(lambda: step_of(out) > 5)
    kill_rank(program, 1)
    said = program.end()
    assert said.code == 2, said.err
    assert "rank 1 of 2 was killed by SIGKILL" in said.error
    assert "last checkpoint" in said.error
    assert "Traceback" not in said.err


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_it_starts_again_by_itself(recipe, straight, out, begin, rank):
    program = begin(recipe, "--devices", 2, "--restarts", 1)
    program.until(lambda: step_of(out) > 5)
    kill_rank(program, rank)
    said = program.end()
    assert said.code == 0, said.err
    (line,) = [one for one in said.warnings if "restarting" in one]
    assert f"rank {rank} of 2 was killed by SIGKILL" in line and "(1 of 1)" in line
    assert "resuming from step-" in said.err
    assert_close(out, straight)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_passed_on_and_all_is_saved(endless, out, begin, number, code):
    program = begin(endless, "--devices", 2)
    program.until(lambda: step_of(out) > 5)
    program.process.send_signal(number)
    said = program.end()
    assert said.code == code, said.err
    assert f"stopped after step {step_of(out)};" in said.error
    assert steps_of(out)[-1] == step_of(out)


@pytest.mark.slow
def test_without_their_parent_they_save_and_end(endless, out, begin):
    program = begin(endless, "--devices", 2)
    program.until(lambda: step_of(out) > 5)
    children = children_of(program.process.pid)
    assert len(children) == 2
    program.kill()
    await_end(children)
    assert steps_of(out)[-1] == step_of(out)
    said = begin(endless, "--devices", 1, f"stages.0.budget={{steps: {step_of(out) + 3}}}").end()
    assert said.code == 0, said.err  # the folder is free


@pytest.mark.slow
def test_a_fault_that_all_meet_is_said_once(recipe, out, begin):
    """The text of a source is gone."""
    shutil.rmtree(out / "data" / "math")
    said = begin(recipe, "--devices", 2).end()
    assert said.code == 2
    assert "math" in said.error and "process" not in said.error


@pytest.mark.slow
def test_a_folder_in_use_is_said_once(endless, out, begin):
    holder = begin(endless)
    holder.until(lambda: step_of(out) > 0)
    said = begin(endless, "--devices", 2).end()
    assert said.code == 2
    assert "in use" in said.error


@pytest.mark.slow
def test_torchrun_starts_them_too(recipe, straight, out, tmp_path):
    given = ("--standalone", "--nproc-per-node", 2, "-m", "yxanul", "train", recipe, "--out", out)
    program = start(tmp_path / "log.txt", *given, module="torch.distributed.run")
    said = program.end()
    assert said.code == 0, said.err
    assert_close(out, straight)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed"])
def test_strategies_that_divide_the_state(recipe, straight, out, begin, strategy):
    if strategy == "deepspeed":
        pytest.importorskip("deepspeed")
    program = begin(recipe, "--devices", 2, "--strategy", strategy)
    program.until(lambda: step_of(out) > 15)
    program.process.send_signal(signal.SIGTERM)
    said = program.end()
    assert said.code == 143, said.err
    said = begin(recipe, "--devices", 2, "--strategy", strategy).end()
    assert said.code == 0, said.err
    assert_close(out, straight)


# What starts and ends them, with small programs in their place


def program_of(*lines):
    """Return a command whose processes have the module `launch` and their rank at hand."""
    head = "import os, signal, sys, time\nrank = int(os.environ['RANK'])\n"
    return [sys.executable, "-c", head + "\n".join(lines)]


def ending_of(*lines, size=2):
    """Run a program as the processes of a group; return what ended them."""
    ending = WorkerGroup(program_of(*lines), size).run()
    assert ending is not None
    return ending


ENDS = "from yxanul.cli.errors import handle_errors\nfrom yxanul.base.errors import *\n"


def test_all_are_done():
    command = program_of("assert os.environ['WORLD_SIZE'] == '3'")
    assert WorkerGroup(command, 3).run() is None


def test_a_signal_that_comes_when_all_have_succeeded_changes_nothing():
    parent = "os.kill(os.getppid(), signal.SIGTERM)"
    command = program_of("signal.signal(signal.SIGTERM, signal.SIG_IGN)", parent)
    assert WorkerGroup(command, 1).run() is None


def test_workers_share_the_cores_this_process_may_use(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("yxanul.train.parallel.worker_group.usable_cores", lambda: 6)
    command = program_of("assert os.environ['OMP_NUM_THREADS'] == '3'")
    assert WorkerGroup(command, 2).run() is None


def test_the_first_that_fails_is_named_and_the_others_are_ended():
    ending = ending_of(
        "if rank == 1: sys.stderr.write('first\\nlast words\\n'); sys.exit(7)",
        "time.sleep(600)",
        size=3,
    )
    assert ending.rank == 1 and ending.is_retryable and not ending.follows
    assert ending.text == "rank 1 of 3 exited with code 7 (last words)"


def test_one_that_does_not_listen_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("yxanul.train.parallel.worker_group.GRACE_SECONDS", 0.5)
    ending = ending_of(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        f"deaf = {str(tmp_path / 'deaf')!r}",
        "if rank == 1: open(deaf, 'w').close()",
        "while not os.path.exists(deaf): time.sleep(0.01)",
        "if rank == 0: os.kill(os.getpid(), signal.SIGSEGV)",
        "time.sleep(600)",
    )
    assert ending.text == "rank 0 of 2 was killed by SIGSEGV"


def test_what_an_error_says_comes_through():
    ending = ending_of(
        ENDS,
        "def work():",
        "    if rank == 1: raise YxanulError('no text', got='nothing')",
        "    raise RuntimeError('[gloo] Connection closed by peer')",
        "with handle_errors(): work()",
    )
    assert (ending.rank, ending.exit_code, ending.text) == (1, 2, "no text; got nothing")
    assert ending.facts["error"]["got"] == "nothing"


def test_a_bug_brings_its_traceback_and_may_be_tried_again():
    ending = ending_of(
        ENDS,
        "def work():",
        "    if rank == 1: {}['x']",
        "    time.sleep(600)",
        "with handle_errors(): work()",
    )
    assert ending.rank == 1 and ending.is_retryable
    assert "KeyError: 'x'" in ending.text and ending.exit_code == 1


def test_a_failure_is_told_apart_from_those_that_follow_it(tmp_path, monkeypatch):
    """The one that lost its peer may end, and report, long before the one that was the cause."""
    monkeypatch.setattr("yxanul.train.parallel.worker_group.GRACE_SECONDS", 60.0)
    gone = tmp_path / "gone"
    ending = ending_of(
        ENDS,
        "from pathlib import Path",
        "def work():",
        f"    gone = Path({str(gone)!r})",
        "    if rank == 0: gone.write_text(str(os.getpid()))",
        "    if rank == 0: raise RuntimeError('[gloo] Connection closed by peer')",
        "    while not gone.exists(): time.sleep(0.01)",
        "    while Path('/proc', gone.read_text(), 'cmdline').exists(): time.sleep(0.01)",
        "    raise MemoryError('the cause')",
        "with handle_errors(): work()",
    )
    assert ending.rank == 1 and "the cause" in ending.text


def test_one_that_follows_waits_for_the_cause_no_longer_than_it_should(monkeypatch):
    monkeypatch.setattr("yxanul.train.parallel.worker_group.GRACE_SECONDS", 0.2)
    ending = ending_of(
        ENDS,
        "def work():",
        "    if rank == 0: raise RuntimeError('[gloo] Connection closed by peer')",
        "    time.sleep(600)",
        "with handle_errors(): work()",
    )
    assert ending.rank == 0 and ending.follows


# Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_before_the_children_listen_is_not_retried(monkeypatch, capsys, number, code):
    command = program_of(f"if rank == 1: os.kill(os.getppid(), {int(number)})", "time.sleep(600)")
    monkeypatch.setattr("yxanul.train.parallel.worker_group.command_of", lambda _: command)
    request = RunRequest("train", "any", (), Path("x"), devices=2, restarts=2)
    with pytest.raises(Interrupted) as caught:
        start_children(request, 2)
    assert caught.value.exit_code == code
    assert "restarting" not in capsys.readouterr().err


def test_a_second_ctrl_c_kills(monkeypatch):
    monkeypatch.setattr("yxanul.train.parallel.worker_group.GRACE_SECONDS", 0.2)
    ending = ending_of(
        "for one in (signal.SIGINT, signal.SIGTERM): signal.signal(one, signal.SIG_IGN)",
        "while True:",
        "    if rank == 1: os.kill(os.getppid(), signal.SIGINT)",
        "    time.sleep(0.02)",
    )
    assert ending.exit_code == 130


def test_what_stops_the_first_stops_them_all(monkeypatch):
    """It has saved; nobody else has anything to save."""
    monkeypatch.setattr("yxanul.train.parallel.worker_group.GRACE_SECONDS", 0.2)
    ending = ending_of(
        "if rank == 1: signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "if rank == 1: os.kill(os.getppid(), signal.SIGTERM)",
        "time.sleep(600)",
    )
    assert ending.exit_code == 143


def test_what_goes_wrong_after_a_signal_is_said_and_not_tried_again(tmp_path):
    ready = tmp_path / "ready"
    ending = ending_of(
        ENDS,
        "def work():",
        f"    if rank == 0: open({str(ready)!r}, 'w').close()",
        f"    while not os.path.exists({str(ready)!r}): time.sleep(0.01)",
        "    if rank == 1: os.kill(os.getppid(), signal.SIGTERM)",
        "    signal.sigwait({signal.SIGTERM})",
        "    raise YxanulError('the disk is full') if rank == 0 else RuntimeError('[gloo] gone')",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})",
        "with handle_errors(): work()",
    )
    assert (ending.rank, ending.exit_code, ending.text) == (0, 2, "the disk is full")


def test_a_child_without_its_parent_stops(monkeypatch):
    monkeypatch.setenv("YXANUL_PARENT", "0")
    with pytest.raises(Interrupted) as caught, StopRequest().handled():
        end_with_parent()
        while True:
            time.sleep(0.01)
    assert caught.value.exit_code == 143


def test_processes_that_do_not_meet_say_so(monkeypatch):
    monkeypatch.setattr(world, "JOIN_TIMEOUT", timedelta(seconds=1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    about = {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in about.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(YxanulError) as caught, world.joined_world("cpu", StopRequest()):
        pytest.fail("nobody else is there")
    assert caught.value.is_retryable and "0:00:01" in str(caught.value)


def test_one_that_waits_for_the_first_notices_that_another_is_gone(tmp_path, monkeypatch):
    """However long the work of the first may take, and also if it had not begun to wait."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    ending = ending_of(
        ENDS,
        "from pathlib import Path",
        "from yxanul.base.interrupt import StopRequest",
        "from yxanul.train.parallel.world import joined_world",
        "def work():",
        f"    gone = Path({str(tmp_path / 'gone')!r})",
        "    with joined_world('cpu', StopRequest()) as world:",
        "        if rank == 1: gone.write_text(str(os.getpid())), os._exit(0)",
        "        while not gone.exists() or not gone.read_text(): time.sleep(0.01)",
        "        while Path('/proc', gone.read_text(), 'cmdline').exists(): time.sleep(0.01)",
        "        world.wait_for_main()",
        "with handle_errors(): work()",
    )
    assert (ending.rank, ending.follows) == (0, True), ending


def test_how_many_processes(monkeypatch, recipe):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    request = RunRequest("train", str(recipe), (), Path("x"))
    loaded = request.load()
    assert num_devices(RunRequest("train", str(recipe), (), Path("x"), devices=3), loaded) == 3
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert num_devices(RunRequest("train", str(recipe), (), Path("x"), devices=3), loaded) == 1


def test_children_get_the_same_order(recipe):
    request = RunRequest(
        "run",
        str(recipe),
        ("train.batch_tokens=512",),
        Path("x"),
        devices=2,
        strategy="fsdp",
        restarts=3,
        resume=True,
        disable_fp8=True,
        cooldown_now=True,
        as_json=True,
    )
    given = " ".join(request.arguments())
    for flag in ("run ", "train.batch_tokens=512", "--strategy fsdp", "--resume", "--json"):
        assert flag in given
    assert "--disable-fp8" in given and "--out x" in given
    assert "--devices" not in given and "--restarts" not in given and "--cooldown" not in given


def test_an_ending_is_an_exit_code():
    error = _error_of(ExitReport(0, 143, "stopped"))
    assert isinstance(error, Interrupted) and error.exit_code == 143
    error = _error_of(ExitReport(1, 3, "gate"))
    assert isinstance(error, YxanulError) and error.exit_code == 3 and str(error) == "gate"
    error = _error_of(ExitReport(1, 2, "gone", is_retryable=True))
    assert "last checkpoint" in str(error)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_no_process_is_left(endless, out, begin, number, code):
    program = begin(endless, "--devices", 2, "--restarts", 2)
    program.until(lambda: len(children_of(program.process.pid)) == 2)
    children = children_of(program.process.pid)
    program.process.send_signal(number)
    said = program.end()
    assert said.code == code and len(said.err.splitlines()) <= 1, said.err
    await_end(children)


def environment_of(pid):
    lines = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(line.split("=", 1) for line in lines if line)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_that_waits_for_the_others(endless, out, begin, number):
    """The first one waits inside C++, where no handler runs."""
    program = begin(endless, "--devices", 2)

    def are_there():
        """The second one too: stopped before its `exec` it would hold up the launcher's `vfork`."""
        children = children_of(program.process.pid)
        return len(children) == 2 and "MASTER_PORT" in environment_of(children[1])

    program.until(are_there)
    first, second = children_of(program.process.pid)
    os.kill(second, signal.SIGSTOP)
    port = int(environment_of(first)["MASTER_PORT"])

    def is_waiting():
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    program.until(is_waiting)
    os.kill(program.process.pid, number)
    said = program.end()
    await_end([first])
    with contextlib.suppress(ProcessLookupError):  # the launcher has killed it, if it could
        os.kill(second, signal.SIGCONT)
    await_end([second])
    assert said.code == (-number if number == signal.SIGKILL else 128 + number), said.err
    assert "Traceback" not in said.err
