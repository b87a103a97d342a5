"""The process that runs one program for `sandbox.py`; it imports the standard library only.

Started as a script. It makes the namespaces, forks the program into them, waits for it and prints
the outcome as JSON: {"status": ..., "reason": ...}, or {"problem": ...} if nothing could be run.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import types
from pathlib import Path
from typing import NoReturn

# From <linux/sched.h>, <linux/mount.h>, <linux/prctl.h> and <linux/capability.h>.
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
LINUX_CAPABILITY_VERSION_3 = 0x20080522

FIRST_FREE_UID = 1_000_000
MAX_MEMORY_BYTES, MAX_FILE_BYTES = 1 << 30, 8 << 20
MAX_PROCESSES, MAX_OPEN_FILES = 32, 64
DISK_OPTIONS = b"size=16m,nr_inodes=4096,mode=755"
TOKEN_BYTES, MAX_REPORT_BYTES = 16, 300


def main() -> None:
    """Read what to run from stdin, as JSON, and print the outcome."""
    order = json.load(sys.stdin.buffer)
    os.environ.clear()
    try:
        outcome = supervise(order)
    except OSError as error:
        outcome = {"problem": str(error)}
    print(json.dumps(outcome))


def supervise(order: dict) -> dict[str, str]:
    """Run the program in a child process and kill all that is left of it after its time."""
    null = os.open(os.devnull, os.O_RDWR)
    with contextlib.suppress(OSError):  # if memory runs out, it is this one that is killed
        Path("/proc/self/oom_score_adj").write_text("1000")
    if order["isolated"]:
        uid = enter_namespaces()
    else:
        uid = os.getuid()
        call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    token_out, token_in = os.pipe()
    report_out, report_in = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(token_in)
            for fd in range(3):
                os.dup2(null, fd)
            run(order, uid, token_out, report_in)
        finally:
            os._exit(1)
    # Made after the fork, so that the program's memory does not hold it.
    token = os.urandom(TOKEN_BYTES)
    os.write(token_in, token)
    os.close(token_in)
    ended = select.select([os.pidfd_open(child)], [], [], order["wall_seconds"])[0]
    os.kill(child, signal.SIGKILL)
    _, raw_status, usage = os.wait4(child, 0)
    status, cpu_seconds = os.waitstatus_to_exitcode(raw_status), usage.ru_utime + usage.ru_stime
    if not order["isolated"]:
        kill_orphans()
    os.set_blocking(report_out, False)
    try:
        report = os.read(report_out, MAX_REPORT_BYTES)
    except BlockingIOError:
        report = b""
    if not ended:
        return {"status": "timed_out", "reason": f"still running after {order['wall_seconds']:g} s"}
    # The kernel counts ticks for its limit: on a busy machine more than the time computed.
    if status == -signal.SIGKILL and cpu_seconds > 0.5 * order["cpu_seconds"]:
        return {"status": "timed_out", "reason": f"computed for {order['cpu_seconds']} s"}
    if report == token and status == 0:
        return {"status": "passed", "reason": ""}
    return {"status": "failed", "reason": report.decode(errors="replace") or end_of(status)}


def enter_namespaces() -> int:
    """Give the next child a process tree, a network and a file system of its own.

    Return the user id it is to have: another one for root, who has no limit of processes. Raises
    OSError if the kernel forbids a step.
    """
    uid, gid = os.getuid(), os.getgid()
    is_root = uid == 0 and "4294967295" in Path("/proc/self/uid_map").read_text()
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    call("unshare", flags if is_root else flags | CLONE_NEWUSER)
    if not is_root:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    replace_files()
    return FIRST_FREE_UID + os.getpid() if is_root else uid


def replace_files() -> None:
    """Replace all files by an empty /tmp in memory and the libraries Python needs, read-only."""
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    root = Path.cwd()
    call("mount", b"tmpfs", bytes(root), b"tmpfs", MS_NOSUID | MS_NODEV, DISK_OPTIONS)
    os.chdir(root)
    python_libraries = str(Path(os.__file__).parents[1])
    for path in dict.fromkeys(["/usr/lib", "/usr/lib64", "/lib", "/lib64", python_libraries]):
        show(path, root)
    (root / "dev").mkdir()
    (root / "dev/null").touch()
    call("mount", b"/dev/null", bytes(root / "dev/null"), None, MS_BIND, None)
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o777)
    call("pivot_root", b".", b".")
    call("umount2", b".", MNT_DETACH)
    os.chdir("/tmp")


def show(path: str, root: Path) -> None:
    """Make a folder visible below `root` at the same path, read-only."""
    there = root / path.lstrip("/")
    if os.path.islink(path):
        there.symlink_to(os.readlink(path))
    elif os.path.isdir(path):
        there.mkdir(parents=True, exist_ok=True)
        call("mount", path.encode(), bytes(there), None, MS_BIND | MS_REC, None)
        # A remount may not drop a noexec of the original.
        kept = os.statvfs(there).f_flag & MS_NOEXEC
        flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | kept
        call("mount", None, bytes(there), None, flags, None)


def restrict(order: dict, uid: int) -> None:
    """Give up all rights that the program does not need, for good."""
    os.setsid()
    if order["isolated"]:
        if uid != os.getuid():
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
        call("capset", header, (ctypes.c_uint32 * 6)())
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    limits = {
        resource.RLIMIT_CPU: order["cpu_seconds"],
        resource.RLIMIT_AS: MAX_MEMORY_BYTES,
        # Without a namespace the limit counts all processes of the user: none may be added.
        resource.RLIMIT_NPROC: MAX_PROCESSES if order["isolated"] else 0,
        resource.RLIMIT_FSIZE: MAX_FILE_BYTES,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def run(order: dict, uid: int, token_out: int, report_in: int) -> NoReturn:
    """Run the program; report the token if it comes to its end, or the exception that it raised.

    The token is read only then: what exits early, with whatever status or output, has not seen it.
    """
    read, write, leave = os.read, os.write, os._exit
    module = sys.modules["program"] = types.ModuleType("program")
    try:
        restrict(order, uid)
        exec(compile(order["source"], "program.py", "exec"), module.__dict__)
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".removesuffix(": ").encode(errors="replace")
        write(report_in, reason[:MAX_REPORT_BYTES])
        leave(1)
    write(report_in, read(token_out, TOKEN_BYTES))
    leave(0)


def kill_orphans() -> None:
    """Kill the program's descendants: as a subreaper, this process becomes their parent."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := children.read_text().split():
        for pid in map(int, pids):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def end_of(status: int) -> str:
    """Return how a process ended that reported nothing."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exited with status {status} before its end"


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raises OSError if it does not return 0."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
