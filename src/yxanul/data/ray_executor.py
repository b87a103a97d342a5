"""Executor that runs tasks on a Ray cluster."""

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

_MAX_RETRIES = 3
_TICK_SECONDS = 0.5
_CONNECT_SECONDS = 10.0
_OBJECT_STORE_BYTES = 80 << 20  # Ray's minimum; files do not pass through it


@contextlib.contextmanager
def open_ray_executor(
    num_workers: int | None, tokenizer: Tokenizer, storage: Storage
) -> Iterator[Executor]:
    """Open an executor on the cluster at RAY_ADDRESS or on this machine; without one, start a local
    cluster. Leaving the block cancels unfinished tasks."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
    try:
        import ray
    except ImportError:
        raise missing_package("ray", "ray") from None
    is_callers = ray.is_initialized()
    with contextlib.nullcontext() if is_callers else connected(ray, num_workers):
        remote = isinstance(storage, RemoteStorage)
        if not remote and sum(node["Alive"] for node in ray.nodes()) > 1:
            raise YxanulError(
                "a Ray cluster of several machines needs shared storage",
                got=f"the local folder {storage.folder}",
                expected="a data.folder all machines can reach: s3://..., file:///mnt/shared/...",
            )
        workers = num_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        engine = _Ray(ray, workers, tokenizer, None if remote else lock_file(storage.folder))
        try:
            yield engine
        except SystemError as error:  # how Ray reports a signal received while waiting
            raise error.__cause__ or error from None
        finally:
            if is_callers:  # else disconnecting ends them
                engine.cancel()


@contextlib.contextmanager
def connected(ray: Any, num_workers: int | None) -> Iterator[None]:
    """Context manager: a connection to the cluster, with Ray's own output silenced."""
    messages = ray._private.worker
    handler, prints = signal.getsignal(signal.SIGTERM), messages.print_to_stdstream
    # No setting keeps Ray's messages about dead workers off stdout, which carries results.
    messages.print_to_stdstream = lambda *_, **__: None
    try:
        _connect(ray, num_workers)
        # Ray replaces the SIGTERM handler: restore the caller's.
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
        if port.isdigit():  # fail fast: Ray itself retries for minutes
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        try:
            ray.init(**quiet, **own)
        except ValueError:  # a running cluster rejects size arguments
            ray.init(**quiet)
    except Exception as error:
        raise YxanulError(
            f"cannot connect to the Ray cluster {address or 'on this machine'}",
            got=_line(error),
            hint="start one with `ray start --head`, or unset RAY_ADDRESS",
        ) from None


@dataclass(frozen=True)
class _Setup:
    """Setup that every worker process receives once."""

    tokenizer: list[Any]
    """Object reference of its JSON, in a list so that Ray sends it only where it is needed."""
    end_of_text: str
    lock: Path | None
    """Lock file held by workers that write to a local folder."""
    tally: Any
    version: str = __version__
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


class _Tally:
    """Ray actor that sums the counts of all machines."""

    def __init__(self) -> None:
        self._counts = Counts()

    def add(self, counts: Counts) -> None:
        self._counts = self._counts.plus(counts)

    def read(self) -> Counts:
        return self._counts


class _Ray:
    """Executor on a Ray cluster; a task whose worker dies is retried on another."""

    def __init__(self, ray: Any, max_running: int, tokenizer: Tokenizer, lock: Path | None) -> None:
        self._ray, self._max_running = ray, max_running
        self._tally = ray.remote(num_cpus=0, max_restarts=-1)(_Tally).remote()
        self._work = ray.remote(num_cpus=1, max_retries=_MAX_RETRIES)(_work)
        text = [ray.put(tokenizer.to_json())]
        self._setup = ray.put(_Setup(text, tokenizer.end_of_text, lock, self._tally))
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
            while (
                len(self._running) < self._max_running and (task := next(waiting, None)) is not None
            ):
                self._running[self._work.remote(task, self._setup)] = task
            if not self._running:
                return
            done, _ = self._ray.wait(list(self._running), timeout=_TICK_SECONDS)
            for reference in done:
                result = self._result(reference)
                yield self._running.pop(reference), result
            yield None

    def cancel(self) -> None:
        """Cancel unfinished tasks."""
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
                f"a Ray worker died {_MAX_RETRIES + 1} times on one task",
                got=_line(error),
                hint="if it ran out of memory, lower data.workers; "
                "rerun the same command to resume",
            ) from None


class _Worker:
    """State of a worker process between tasks."""

    key = ""
    context: WorkerContext
    lock: IO[str]
    counts = Counts()
    sent_at = 0.0


def _work(task: WorkerTask, setup: _Setup) -> Any:
    """Run a task in a worker process of the cluster."""
    if _Worker.key != setup.key:
        _set_up(setup)
    result = task.run(_Worker.context)
    _send_counts(setup, wait=True)
    return result


def _set_up(setup: _Setup) -> None:
    import ray

    if setup.version != __version__:
        raise YxanulError(
            f"{platform.node()} has a different version of yxanul",
            got=__version__,
            expected=setup.version,
        )
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles Ctrl-C
    if setup.lock is not None:
        _Worker.lock = open(setup.lock, "a")  # noqa: SIM115 - held until the process ends
        fcntl.flock(_Worker.lock, fcntl.LOCK_SH)

    def count(counts: Counts) -> None:
        _Worker.counts = _Worker.counts.plus(counts)
        if time.monotonic() - _Worker.sent_at > _TICK_SECONDS:
            _send_counts(setup)

    tokenizer = Tokenizer.from_json(ray.get(setup.tokenizer[0]), setup.end_of_text)
    _Worker.context, _Worker.key = WorkerContext(tokenizer, count), setup.key


def _send_counts(setup: _Setup, wait: bool = False) -> None:
    """Send the counts of this worker to the tally."""
    import ray
    from ray.exceptions import RayError

    reference = setup.tally.add.remote(_Worker.counts)
    _Worker.counts, _Worker.sent_at = Counts(), time.monotonic()
    if wait:
        with contextlib.suppress(RayError):
            ray.get(reference, timeout=_TICK_SECONDS)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
