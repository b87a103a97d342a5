"""A local Ray of two workers makes the same bytes as this process, whatever dies meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import pytest

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.data import ray_executor
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.data.storage import Storage, open_storage

FILES, WORKERS = 6, 2
MARK = f"tests-{os.getpid()}"

SCRIPT = """
import sys
from pathlib import Path
from yxanul.base.interrupt import StopRequest
from yxanul.base.ui import SilentUi
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import ByteSettings

tokenizer = build_tokenizer(ByteSettings(), lambda: [], SilentUi())
settings = DataSettings.model_validate_json(sys.argv[1])
with StopRequest().handled():
    prepare_corpus(settings, tokenizer, Path(sys.argv[2]), SilentUi())
"""


@pytest.fixture(scope="module")
def ray():
    """A Ray of two workers for all tests of the module: one of a caller's own."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    with ray_executor.connected(ray, WORKERS):
        yield ray


@pytest.fixture(autouse=True, scope="module")
def _never_another_cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "local")
        patch.setenv("DRIVER_OF", MARK)
        yield


@pytest.fixture(scope="module")
def texts(tmp_path_factory, write_stories):
    """Files that take a worker some tenths of a second each."""
    folder = write_stories(tmp_path_factory.mktemp("ray") / "texts", FILES, 120)
    for path in folder.glob("*.jsonl"):
        lines = path.read_text().splitlines()
        more = [line.replace("\\u00ba", f" {again}") for again in range(12) for line in lines]
        path.write_text("\n".join(more) + "\n")
    return folder


@pytest.fixture(scope="module")
def undisturbed(texts, tmp_path_factory, byte_tokenizer):
    out = tmp_path_factory.mktemp("undisturbed")
    prepare_corpus(settings_for(texts, "processes"), byte_tokenizer, out, SilentUi())
    return content_of(out)


def settings_for(texts, engine="ray", folder=None, **source):
    source = {"kind": "jsonl", "path": str(texts)} | source
    plain = {"sources": {"tales": source}, "validation_fraction": 0.2, "executor": engine}
    workers = WORKERS if engine == "ray" else 1
    return DataSettings.model_validate(plain | {"folder": folder, "workers": workers})


def content_of(folder):
    names = {path: str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {n: p.read_bytes() for p, n in names.items() if n not in (".lock", ".workers")}


def ray_workers(mark):
    """Return the processes of Ray that are at a task now, with `mark` in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            at_work = (path / "cmdline").read_bytes().startswith(b"ray::_work")
            if at_work and mark.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def wait_until(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return value


def test_without_ray_it_says_what_to_install(texts, tmp_path, byte_tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(YxanulError, match=r"'yxanul\[ray\]'"):
        prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path, SilentUi())


@pytest.mark.parametrize("shared", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_same_bytes_as_here(texts, tmp_path, undisturbed, byte_tokenizer, ray, shared):
    folder = f"file://{tmp_path}/out" if shared else None
    settings = settings_for(texts, folder=folder)
    prepare_corpus(settings, byte_tokenizer, tmp_path / "out", SilentUi())
    assert content_of(tmp_path / "out") == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_a_killed_worker_changes_nothing(texts, tmp_path, undisturbed, byte_tokenizer, ray, shared):
    killed = []

    def kill():
        killed.append(wait_until(lambda: ray_workers(MARK))[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    folder = f"file://{tmp_path}/out" if shared else None
    prepare_corpus(settings_for(texts, folder=folder), byte_tokenizer, tmp_path / "out", SilentUi())
    killer.join()
    assert killed and content_of(tmp_path / "out") == undisturbed


@dataclass(frozen=True)
class Negating:
    """A task that needs no file."""

    number: int

    def run(self, worker, folder):
        return -self.number

    def outputs(self, folder):
        return []


@dataclass(frozen=True)
class Dying:
    """A task that kills whoever does it."""

    path: Path

    def run(self, worker, folder):
        with open(self.path, "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    def outputs(self, folder):
        return []


@pytest.fixture
def sent_whole(ray):
    """The classes of this file are sent to the workers, who cannot import it."""
    module = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(module)
    yield
    ray.cloudpickle.unregister_pickle_by_value(module)


def test_each_task_has_its_result(tmp_path, byte_tokenizer, sent_whole):
    tasks = [Negating(number) for number in range(1, 9)]
    for _ in range(2):  # a folder of a cluster that goes on may be prepared again
        with (
            open_storage(None, tmp_path, SilentUi()) as storage,
            ray_executor.ray_executor(WORKERS, byte_tokenizer, storage) as executor,
        ):
            results = dict(filter(None, executor.results(tasks)))
            again = list(filter(None, executor.results(tasks[:1])))
        assert results == {task: -task.number for task in tasks}
        assert again == [(tasks[0], -1)]


@pytest.mark.slow
def test_a_part_that_kills_every_worker_is_one_line(tmp_path, byte_tokenizer, sent_whole):
    task = Dying(tmp_path / "tries")
    with (
        pytest.raises(YxanulError, match=r"died 4 times.*to resume") as caught,
        ray_executor.ray_executor(WORKERS, byte_tokenizer, Storage(tmp_path)) as executor,
    ):
        list(executor.results([task]))
    assert task.path.read_text() == "xxxx"
    assert "\n" not in str(caught.value)


def test_a_problem_that_stops_is_an_error_from_a_worker_too(
    tmp_path, write_stories, byte_tokenizer, ray
):
    texts = write_stories(tmp_path / "texts", 3, 20)
    (texts / "01.jsonl").write_text("{broken\n")
    settings = settings_for(texts, on_problem="stop")
    with pytest.raises(YxanulError, match=r"^source 'tales'.*01\.jsonl") as caught:
        prepare_corpus(settings, byte_tokenizer, tmp_path / "out", SilentUi())
    assert "\n" not in str(caught.value)


def test_several_machines_need_a_place_that_all_reach(
    texts, tmp_path, byte_tokenizer, ray, monkeypatch
):
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True}, {"Alive": True}, {"Alive": False}])
    with pytest.raises(YxanulError, match=r"several machines.*expected a data.folder"):
        prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path, SilentUi())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("shared", [False, True])
def test_ending_the_driver_ends_all_and_the_next_call_goes_on(
    texts, tmp_path, undisturbed, byte_tokenizer, number, shared
):
    pytest.importorskip("ray", reason="ray is not installed")
    out = tmp_path / "out"
    settings = settings_for(texts, folder=f"file://{out}" if shared else None)
    command = [sys.executable, "-c", SCRIPT, settings.model_dump_json(), str(out)]
    mark = f"DRIVER_OF={tmp_path}"
    process = subprocess.Popen(
        command,
        env=os.environ | {"DRIVER_OF": str(tmp_path)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: ray_workers(mark))
    assert process.poll() is None
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # what Ctrl-C does: all processes of the group
    else:
        process.send_signal(number)
    output, errors = process.communicate(timeout=240)
    assert output == ""
    if number != signal.SIGKILL:
        assert process.returncode == 1
        assert "yxanul.base.errors.Interrupted: stopped" in errors.splitlines()[-1], errors
    wait_until(lambda: not ray_workers(mark))
    assert not (out / "tales" / "manifest.json").exists()
    prepare_corpus(
        settings_for(texts, "processes", settings.folder), byte_tokenizer, out, SilentUi()
    )
    assert content_of(out) == undisturbed


def test_a_cluster_that_is_not_there(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with (
        pytest.raises(YxanulError, match=r"connect to the Ray cluster 127\.0\.0\.1:9"),
        ray_executor.connected(Mock(), WORKERS),
    ):
        raise AssertionError("it is not there")


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_line(texts, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    command = [sys.executable, "-c", SCRIPT, settings_for(texts).model_dump_json(), str(tmp_path)]
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:9"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert result.stdout == ""
    last = result.stderr.strip().splitlines()[-1]
    assert "connect to the Ray cluster 127.0.0.1:9" in last
