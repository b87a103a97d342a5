"""Executor that runs tasks on a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from yxanul import __version__
from yxanul.base.errors import YxanulError, missing_package
from yxanul.data.executor import Executor, Worker, WorkerTask, limit_threads
from yxanul.data.storage import RemoteStorage, Storage, worker_lock
from yxanul.tokenizer.tokenizer import Tokenizer

_MAX_RETRIES = 3
_CONNECT_SECONDS = 10.0
_OBJECT_STORE_BYTES = 80 << 20  # Ray's minimum; files do not pass through it


@contextlib.contextmanager
def ray_executor(
    num_workers: int | None, tokenizer: Tokenizer, storage: Storage
) -> Iterator[Executor]:
    """Open an executor on the cluster at RAY_ADDRESS or on this machine; without one, start a local
    cluster. A task whose worker dies is retried; leaving the block cancels unfinished tasks."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
    try:
        import ray
        from ray.exceptions import (
            NodeDiedError,
            OutOfMemoryError,
            RayError,
            RayTaskError,
            WorkerCrashedError,
        )
    except ImportError:
        raise missing_package("ray", "ray") from None
    with contextlib.nullcontext() if ray.is_initialized() else connected(ray, num_workers):
        is_local = not isinstance(storage, RemoteStorage)
        if is_local and sum(node["Alive"] for node in ray.nodes()) > 1:
            raise YxanulError(
                "a Ray cluster of several machines needs shared storage",
                got=f"the local folder {storage.folder}",
                expected="a data.folder all machines can reach: s3://..., file:///mnt/shared/...",
            )
        setup = ray.put(_Setup(storage, tokenizer.to_json(), tokenizer.end_of_text))
        work = ray.remote(num_cpus=1, max_retries=_MAX_RETRIES)(_work)
        workers = num_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        executor = Executor(lambda task: work.remote(task, setup).future(), workers)
        try:
            yield executor
        except RayTaskError as error:
            raise error.cause from None
        except (WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
            raise YxanulError(
                f"a Ray worker died {_MAX_RETRIES + 1} times on one task",
                got=_line(error),
                hint="if it ran out of memory, lower data.workers; run the same command to resume",
            ) from None
        except RayError as error:
            raise YxanulError(
                "the Ray cluster failed", got=_line(error), hint="run the same command to resume"
            ) from None
        finally:
            unfinished: list[Any] = list(executor.running)
            for future in unfinished:
                ray.cancel(future.object_ref, force=True)


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
    """What every worker process needs from the driver."""

    storage: Storage = field(compare=False)
    tokenizer: str = field(compare=False)
    end_of_text: str = field(compare=False)
    version: str = __version__
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


def _work(task: WorkerTask, setup: _Setup) -> Any:
    """Run a task in a worker process of the cluster."""
    worker, storage = _worker(setup), setup.storage
    if isinstance(storage, RemoteStorage):
        return worker.run(task)
    with worker_lock(storage.folder):
        return worker.run(task)


@lru_cache(maxsize=1)
def _worker(setup: _Setup) -> Worker:
    """Return the worker of this process."""
    if setup.version != __version__:
        raise YxanulError(
            f"{platform.node()} has a different version of yxanul",
            got=__version__,
            expected=setup.version,
        )
    limit_threads()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles Ctrl-C
    return Worker(Tokenizer.from_json(setup.tokenizer, setup.end_of_text), setup.storage)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
