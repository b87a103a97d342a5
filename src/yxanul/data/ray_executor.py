"""A Ray cluster that prepares text: the same tasks, done on any machine of it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from yxanul import __version__
from yxanul.base.errors import YxanulError, missing_package
from yxanul.data.executor import Counts, Executor, WorkerContext, WorkerTask
from yxanul.data.storage import RemoteStorage, Storage
from yxanul.data.workers import lock_file
from yxanul.tokenizer.tokenizer import Tokenizer

_TRIES_AGAIN = 3
_TICK_SECONDS = 0.5
_KNOCK_SECONDS = 10.0
_OBJECT_STORE_BYTES = 80 << 20  # the least that Ray takes; files do not go through it


@contextlib.contextmanager
def work_on_ray(
    num_workers: int | None, tokenizer: Tokenizer, place: Storage
) -> Iterator[Executor]:
    """Give an engine that works on the cluster of RAY_ADDRESS or of this machine; where there is
    none, one is started here. Leaving the block ends what is not done."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
    try:
        import ray
    except ImportError:
        raise missing_package("ray", "ray") from None
    is_callers = ray.is_initialized()
    with contextlib.nullcontext() if is_callers else connected(ray, num_workers):
        remote = isinstance(place, RemoteStorage)
        if not remote and sum(node["Alive"] for node in ray.nodes()) > 1:
            raise YxanulError(
                "the Ray cluster has several machines, which write to one place",
                got=f"the folder {place.folder} of this one",
                expected="a data.folder that all reach: s3://..., file:///mnt/shared/...",
            )
        workers = num_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        engine = _Ray(ray, workers, tokenizer, None if remote else lock_file(place.folder))
        try:
            yield engine
        except SystemError as error:  # what Ray makes of a signal that comes as it waits
            raise error.__cause__ or error from None
        finally:
            if is_callers:  # else the end of the connection ends them
                engine.cancel()


@contextlib.contextmanager
def connected(ray: Any, num_workers: int | None) -> Iterator[None]:
    """Be connected to a cluster, of which nothing is heard but what we ask."""
    messages = ray._private.worker
    handler, prints = signal.getsignal(signal.SIGTERM), messages.print_to_stdstream
    # No setting keeps its words about dead workers from stdout, where results go.
    messages.print_to_stdstream = lambda *_, **__: None
    try:
        _connect(ray, num_workers)
        # Ray takes SIGTERM over; who called decides what it does.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
        yield
    finally:
        ray.shutdown()
        messages.print_to_stdstream = prints


def _connect(ray: Any, num_workers: int | None) -> None:
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    own = {"num_cpus": num_workers, "object_store_memory": _OBJECT_STORE_BYTES}
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if port.isdigit():  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()
        try:
            ray.init(**quiet, **own)
        except ValueError:  # there is a cluster: its size is not for us to say
            ray.init(**quiet)
    except Exception as error:
        raise YxanulError(
            f"the Ray cluster {address or 'here'} cannot be reached",
            got=_line(error),
            hint="start one with `ray start --head`, or unset RAY_ADDRESS",
        ) from None


@dataclass(frozen=True)
class _Given:
    """What every worker process gets once."""

    tokenizer: list[Any]
    """The object that holds it, in a list, so that it is sent only when it is asked for."""
    end_of_text: str
    lock: Path | None
    """Held by workers that write to a folder of this machine."""
    tally: Any
    version: str = __version__
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


class _Tally:
    """Sums up what has gone through on all machines."""

    def __init__(self) -> None:
        self._counts = Counts()

    def add(self, counts: Counts) -> None:
        self._counts = self._counts.plus(counts)

    def read(self) -> Counts:
        return self._counts


class _Ray:
    """Does tasks on a Ray cluster; one whose worker dies is done again elsewhere."""

    def __init__(self, ray: Any, at_once: int, tokenizer: Tokenizer, lock: Path | None) -> None:
        self._ray, self._at_once = ray, at_once
        self._tally = ray.remote(num_cpus=0, max_restarts=-1)(_Tally).remote()
        self._work = ray.remote(num_cpus=1, max_retries=_TRIES_AGAIN)(_work)
        text = [ray.put(tokenizer.to_json())]
        self._given = ray.put(_Given(text, tokenizer.end_of_text, lock, self._tally))
        self._running: dict[Any, WorkerTask] = {}
        self._counts = Counts()

    @property
    def counts(self) -> Counts:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._counts = self._ray.get(self._tally.read.remote(), timeout=_TICK_SECONDS)
        return self._counts

    def results(self, tasks: Sequence[WorkerTask]) -> Iterator[tuple[WorkerTask, Any] | None]:
        waiting = iter(tasks)
        while True:
            while len(self._running) < self._at_once and (task := next(waiting, None)) is not None:
                self._running[self._work.remote(task, self._given)] = task
            if not self._running:
                return
            done, _ = self._ray.wait(list(self._running), timeout=_TICK_SECONDS)
            for reference in done:
                result = self._result(reference)
                yield self._running.pop(reference), result
            yield None

    def cancel(self) -> None:
        """End what is not done."""
        for reference in self._running:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.cancel(reference, force=True)

    def _result(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            raise YxanulError(
                f"a Ray worker died {_TRIES_AGAIN + 1} times over one part",
                got=_line(error),
                hint="if memory ran out, lower data.workers; "
                "the same command goes on with what is missing",
            ) from None


class _Worker:
    """What a worker process keeps between two tasks."""

    key = ""
    context: WorkerContext
    lock: IO[str]
    counts = Counts()
    told = 0.0


def _work(task: WorkerTask, given: _Given) -> Any:
    """Do a task in a process of the cluster."""
    if _Worker.key != given.key:
        _set_up(given)
    result = task.run(_Worker.context)
    _tell(given, wait=True)
    return result


def _set_up(given: _Given) -> None:
    import ray

    if given.version != __version__:
        raise YxanulError(
            f"{platform.node()} has another version of yxanul",
            got=__version__,
            expected=given.version,
        )
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver to decide
    if given.lock is not None:
        _Worker.lock = open(given.lock, "a")  # noqa: SIM115 - held as long as the process lives
        fcntl.flock(_Worker.lock, fcntl.LOCK_SH)

    def count(counts: Counts) -> None:
        _Worker.counts = _Worker.counts.plus(counts)
        if time.monotonic() - _Worker.told > _TICK_SECONDS:
            _tell(given)

    tokenizer = Tokenizer.from_json(ray.get(given.tokenizer[0]), given.end_of_text)
    _Worker.context, _Worker.key = WorkerContext(tokenizer, count), given.key


def _tell(given: _Given, wait: bool = False) -> None:
    """Send what has gone through here."""
    import ray
    from ray.exceptions import RayError

    reference = given.tally.add.remote(_Worker.counts)
    _Worker.counts, _Worker.told = Counts(), time.monotonic()
    if wait:
        with contextlib.suppress(RayError):
            ray.get(reference, timeout=_TICK_SECONDS)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
