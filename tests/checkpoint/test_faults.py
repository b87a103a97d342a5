"""Disks that fill up or lock, processes that die: what was on the disk before still holds."""

import errno
import io
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing

import pytest
import torch

from running import in_own_mounts
from yxanul.base import files
from yxanul.base.errors import YxanulError
from yxanul.checkpoint import write as write_module
from yxanul.checkpoint.background import CheckpointWriter
from yxanul.checkpoint.keep import read_best
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.checkpoint.read import newest_intact, read_checkpoint, verify_checkpoint
from yxanul.checkpoint.write import write_checkpoint

save_file = write_module.save_file


def tensors_of(step, size=1000):
    return {"model": {"w": torch.full((size,), float(step))}, "optimizer": {"m": torch.ones(9)}}


def save(folder, step, beside):
    with closing(CheckpointWriter(folder, background=beside)) as writer:
        writer.submit(step, tensors_of(step), {"step": step})


class HalfWriting(io.FileIO):
    """A file in which half of the content lands before the disk may fail."""

    def __init__(self, path, blow):
        super().__init__(path, "wb")
        self.blow = blow

    def write(self, data):
        half = len(data) // 2
        super().write(data[:half])
        self.blow("write")
        return half + (super().write(data[half:]) or 0)


class FailingDisk:
    """Fails the n-th call that changes the disk, and, if it stays full, every one after it."""

    def __init__(self, patch, at, stays):
        self.at, self.stays, self.calls = at, stays, Counter()
        for name in ("fsync", "rename", "replace"):
            patch.setattr(files.os, name, self.wrapped(name, getattr(os, name)))
        patch.setattr(files, "open", self.opened, raising=False)
        patch.setattr(write_module, "save_file", self.half_saved)

    def blow(self, name):
        self.calls[name] += 1
        number = self.calls.total()
        if number == self.at or (self.stays and number > self.at):
            raise OSError(errno.ENOSPC, "No space left on device")

    def wrapped(self, name, real):
        def call(*args):
            self.blow(name)
            return real(*args)

        return call

    def opened(self, path, mode):
        return HalfWriting(path, self.blow) if mode == "wb" else open(path, mode)

    def half_saved(self, tensors, path):
        path.write_bytes(b"half")
        self.blow("save_file")
        save_file(tensors, path)


@pytest.mark.parametrize(
    ("step", "stays", "beside"),
    [(10, True, True), (10, False, False), (11, True, False), (11, False, True)],
)
def test_no_space_at_any_moment_leaves_what_was_there(tmp_path, monkeypatch, step, stays, beside):
    """Step 10 is there already and written anew, 11 is not."""
    for at in range(1, 100):
        folder = tmp_path / str(at)
        for old in (9, 10):
            write_checkpoint(folder, old, tensors_of(old), {"step": old})
        with monkeypatch.context() as patch:
            disk = FailingDisk(patch, at, stays)
            try:
                save(folder, step, beside)
                break  # it has fewer moments than this
            except YxanulError as error:
                assert f"step {step} " in str(error) and "[Errno 28]" in str(error)
                assert "free some space" in str(error) and len(str(error).splitlines()) == 1
        check_nothing_lost(folder, step)
        save(folder, 12, beside)  # there is space again
        assert {path.name[0] for path in folder.iterdir()} == {"s"}  # and no leftovers
        assert checkpoint_steps(folder) in ([9, 10, 12], [9, 10, 11, 12])
    assert at > 8 and disk.calls.keys() == {"fsync", "rename", "replace", "write", "save_file"}


def check_nothing_lost(folder, step):
    """All of the old is there; the new is whole or not at all."""
    newest, damaged = newest_intact(folder)
    assert damaged == [] and newest is not None
    loaded, state = read_checkpoint(newest)
    assert state["step"] in {10, step}
    assert loaded["model"]["w"].unique().tolist() == [state["step"]]
    verify_checkpoint(folder / "step-00000009")


def test_dead_between_two_renames_the_old_copy_is_found(tmp_path):
    """The old one had made way and the new one had not come: it may be the only copy."""
    path = write_checkpoint(tmp_path, 1, tensors_of(1), {"step": 1})
    aside = tmp_path / ".step-00000001.77.replaced.partial"
    shutil.copytree(path, tmp_path / ".step-00000001.77.partial")
    path.rename(aside)
    assert newest_intact(tmp_path) == (aside, [])
    assert read_checkpoint(aside)[1] == {"step": 1}
    write_checkpoint(tmp_path, 2, tensors_of(2), {"step": 2})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
    verify_checkpoint(path)


def test_what_was_put_aside_and_is_damaged_is_named(tmp_path):
    write_checkpoint(tmp_path, 1, tensors_of(1), {})
    path = write_checkpoint(tmp_path, 2, tensors_of(2), {})
    (path / "manifest.json").unlink()
    path.rename(tmp_path / ".step-00000002.77.replaced.partial")
    best, (error,) = newest_intact(tmp_path)
    assert best == tmp_path / "step-00000001" and ".77.replaced" in str(error)


REAL_DISK = """
import pathlib, subprocess, sys, torch
from contextlib import closing
from yxanul.base.errors import YxanulError
from yxanul.checkpoint.background import CheckpointWriter
from yxanul.checkpoint.read import newest_intact

folder = pathlib.Path(sys.argv[1])
def mount(*options):
    subprocess.run(["mount", *options, str(folder)], check=True)
mount("-t", "tmpfs", "-o", "size=1m", "none")

def save(step, size, beside):
    try:
        with closing(CheckpointWriter(folder / "checkpoints", background=beside)) as writer:
            writer.submit(step, {"model": {"w": torch.zeros(size)}}, {"step": step})
    except YxanulError as error:
        print("refused:", error)
    path, damaged = newest_intact(folder / "checkpoints")
    left = len(list((folder / "checkpoints").iterdir()))
    print(path.name, damaged, left)

save(1, 100_000, True)
save(2, 200_000, True)   # 0.8 MB do not fit beside 0.4 MB
save(3, 200_000, False)
save(4, 100_000, True)
mount("-o", "remount,ro")
save(5, 1, True)
save(6, 1, False)
"""


def test_a_real_disk_that_is_full_and_then_read_only(tmp_path):
    command = [*in_own_mounts(), sys.executable, "-c", REAL_DISK, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    first, no_2, after_2, no_3, after_3, fourth, no_5, after_5, no_6, after_6 = (
        result.stdout.splitlines()
    )
    assert first == after_2 == after_3 == "step-00000001 [] 1"
    assert fourth == after_5 == after_6 == "step-00000004 [] 2"
    for step, line in ((2, no_2), (3, no_3)):
        assert f"step {step} " in line
        assert "No space left" in line and "free some space" in line
    for step, line in ((5, no_5), (6, no_6)):
        assert f"step {step} " in line
        assert "Read-only file system" in line and "writable" in line


FILE_LIMIT = """
import pathlib, resource, signal, sys, torch
from contextlib import closing
from yxanul.base.errors import YxanulError
from yxanul.checkpoint.background import CheckpointWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with closing(CheckpointWriter(pathlib.Path(sys.argv[1]))) as writer:
    writer.submit(1, {"model": {"w": torch.zeros(10)}}, {})
    writer.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    writer.submit(2, {"model": {"w": torch.zeros(100_000)}}, {})
    try:
        writer.wait()
    except YxanulError as error:
        print(error)
"""


def test_a_limit_of_the_system_reaches_the_training_in_one_line(tmp_path):
    command = [sys.executable, "-c", FILE_LIMIT, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    (line,) = result.stdout.splitlines()
    assert "step 2 " in line and "File too large" in line
    assert newest_intact(tmp_path) == (tmp_path / "step-00000001", [])
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(YxanulError, match="step 1 ") as caught:
        save(tmp_path / "file" / "checkpoints", 1, True)
    assert len(str(caught.value).splitlines()) == 1


NURSERY = """
import os, pathlib, signal, sys, time, torch
from contextlib import closing
from yxanul.checkpoint.background import CheckpointWriter
from yxanul.checkpoint.keep import rotate, write_best
from yxanul.checkpoint.layout import checkpoint_steps

run = pathlib.Path(sys.argv[1])
folder = run / "checkpoints"

def live(pipe):
    step = max(checkpoint_steps(folder), default=0)
    table = torch.full((60_000,), float(step))
    tensors = {"model": {"w": table}, "optimizer": {"m": torch.zeros(60_000)}}
    def after(step):
        write_best(run, step, "val/loss", 1 / step)
        rotate(folder, keep=2, best=None, keep_every=50)
        os.write(pipe, b"%d\\n" % step)
    with closing(CheckpointWriter(folder)) as writer:
        while True:
            step += 1
            table.add_(1.0)  # in place, as an optimizer does, while the last one is being written
            tensors["optimizer"]["m"].fill_(-step)
            writer.submit(step, tensors, {"step": step}, lambda step=step: after(step))

for line in sys.stdin:  # how long the next one lives after its first save
    out, pipe = os.pipe()
    child = os.fork()
    if not child:
        live(pipe)
    os.close(pipe)
    said = os.read(out, 100)
    time.sleep(float(line))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(out, 65536):
        said += more
    os.close(out)
    print(said.split()[-1].decode(), flush=True)
"""


def kill_at_random_moments(run, times, seed):
    """Kill a process that saves without pause, again and again; check the disk each time."""
    moments, folder = random.Random(seed), run / "checkpoints"
    command = [sys.executable, "-c", NURSERY, str(run)]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as nursery:
        assert nursery.stdin is not None and nursery.stdout is not None
        for _ in range(times):
            print(moments.uniform(0, 0.06), file=nursery.stdin, flush=True)
            check_after_kill(run, folder, reached=int(nursery.stdout.readline()))
        nursery.stdin.close()
        assert nursery.wait(60) == 0


def check_after_kill(run, folder, reached):
    """What was said to be on the disk is there, or a later one; each is what its step had."""
    path, damaged = newest_intact(folder)
    assert path is not None and damaged == []
    assert read_checkpoint(path)[1]["step"] >= reached
    best = read_best(run)
    assert best is not None and best.step >= reached
    for step in checkpoint_steps(folder):
        loaded, state = read_checkpoint(folder / f"step-{step:08d}")
        assert state == {"step": step}
        assert loaded["model"]["w"].unique().tolist() == [step]
        assert loaded["optimizer"]["m"].unique().tolist() == [-step]


@pytest.mark.slow
def test_killed_at_random_moments_while_saving_in_the_background(tmp_path):
    kill_at_random_moments(tmp_path, times=10, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_many_random_moments(tmp_path, seed):
    kill_at_random_moments(tmp_path, times=50, seed=seed)
