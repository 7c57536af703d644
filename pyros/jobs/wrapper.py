"""The launcher, and the wrapper around each job: programs of their own that know no Twisted and no ledger.

The launcher reads orders from standard input, a JSON object a line, and forks a wrapper for each: that takes a
millisecond, where a new Python takes twenty. It ends with its standard input; the wrappers live on.

A wrapper runs one attempt of one job, in a session of its own. It is the subreaper of all that the job starts
(PR_SET_CHILD_SUBREAPER): whatever a process does to get away, a session of its own or a second fork, it becomes the
wrapper's child, and the wrapper has ended only when it has no child any more. The files of a job's folder:

    lock            locked (flock) as long as a wrapper lives; its number is in it
    begun-N         there before attempt N runs its first instruction
    result-N.json   how it ended, there when nothing of it is left
    progress.json   the last PROGRESS line
    log             what it has printed
    work/           where it runs; it belongs to the user that it runs as, all others to the agent's
    work/outbox/    what it leaves for people
    work/.outcome-N.json   what a task returned or raised

No result, no lock and no ``begun-N``: it has never begun. No result, no lock, but ``begun-N``: it crashed. Nothing of
this is synced: it is for agents that are killed. Of an attempt of an earlier life of the computer only a result that is
there counts; without one it crashed.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pwd
import re
import resource
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from pyros.clock import steady_seconds, system_time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGNALS = {signal.SIGTERM, signal.SIGCHLD}
_MEMORY_LOOK_SECONDS = 0.25
_KILL_LOOK_SECONDS = 0.02
_UNKILLABLE_SECONDS = 30.0
"""A process that still lives so long after SIGKILL hangs in the kernel: it is left behind, and said so."""
_OUT_OF_MEMORY_SCORE = "500"  # when memory is short the kernel takes a job before an agent
_MAX_LINE = 4096
_DESCRIPTORS = 64  # more than the launcher has open
_PROGRESS = re.compile(rb"PROGRESS\s+(\d{1,3}(?:\.\d{1,6})?)\s*%?\s*(.*)")
_PROGRESS_SECONDS = 0.1

_libc = ctypes.CDLL(None)


def launch() -> None:
    """Fork a wrapper for each order that standard input brings, until it ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # what a wrapper gets before it is ready waits for it
    with suppress(OSError):
        os.setpgid(0, 0)  # what ends the agent from a terminal is not for the jobs
    with os.fdopen(os.dup(0), "rb") as orders:
        for line in orders:
            order = json.loads(line)
            with suppress(ChildProcessError):  # bury the wrappers that have ended
                while os.waitpid(-1, os.WNOHANG)[0]:
                    continue
            pid = os.fork()
            if pid == 0:
                _wrap(order)
            os.write(1, json.dumps({"id": order["id"], "attempt": order["attempt"], "pid": pid}).encode() + b"\n")


def _wrap(order: dict[str, Any]) -> NoReturn:
    """Be a wrapper: never returns."""
    code = 1
    try:
        os.closerange(3, _DESCRIPTORS)
        folder = Path(order["folder"])
        (folder / "work").mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (folder / "work" / "outbox").mkdir()
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.setsid()
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _begin(folder, order["attempt"], lock):
            Wrapper(order, folder, log).run()
        code = 0
    except BaseException as error:
        with suppress(OSError):
            os.write(2, f"pyros: the job's wrapper failed: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def _begin(folder: Path, attempt: int, lock: int) -> bool:
    """Mark that this attempt begins; False when another wrapper has had it."""
    try:
        begun = os.open(folder / f"begun-{attempt}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    except FileExistsError:
        return False
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    os.close(begun)
    return True


class Wrapper:
    """One attempt of one job, from its first process to the end of its last one."""

    def __init__(self, order: dict[str, Any], folder: Path, log: int) -> None:
        self._order = order
        self._folder = folder
        self._log = log
        self._log_room = order["log_bytes"] - os.fstat(log).st_size
        self._line = b""
        self._progress: dict[str, Any] | None = None
        self._progress_due = 0.0
        self._main = 0  # the process number of the job's first process; 0 before it begins, and when it has ended
        self._status: int | None = None
        self._why = ""
        self._ending_since: float | None = None
        self._killing_since: float | None = None
        user = order.get("user")
        self._user = pwd.getpwnam(user) if user else None

    def run(self) -> None:
        """Run the job to its end, and write its result."""
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)  # a handler, so that the byte comes; and exec makes it the default
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        with suppress(FileNotFoundError):
            (self._folder / "progress.json").unlink()  # an earlier attempt's
        self._pid = os.getpid()
        self._began = steady_seconds()
        self._memory_due = self._began + _MEMORY_LOOK_SECONDS
        self._output, output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._output, False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        self._start(output)
        os.close(output)
        self._watch()
        self._read_output()
        self._save_progress()
        self._write_result()

    def _start(self, output: int) -> None:
        work = self._folder / "work"
        environment = {**os.environ, **self._order["environment"]}
        if self._user is not None:
            name = self._user.pw_name
            environment |= {"HOME": self._user.pw_dir, "USER": name, "LOGNAME": name}
            os.chown(work, self._user.pw_uid, self._user.pw_gid)
            with suppress(OSError):  # an earlier attempt may have put something else there
                outbox = os.open(work / "outbox", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                os.fchown(outbox, self._user.pw_uid, self._user.pw_gid)
                os.close(outbox)
        for name, text in self._order["files"].items():
            self._write_file(work / name, text)
        try:
            self._process = subprocess.Popen(  # kept: when it is forgotten, it buries the process itself
                self._order["command"], cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, preexec_fn=self._limit,  # noqa: PLW1509  there is one thread
            )  # fmt: skip
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            told = getattr(error, "strerror", None) or str(error)
            self._why = f"cannot start: {self._order['command'][0]}: {told}"
            return
        self._main = self._process.pid

    def _write_file(self, path: Path, text: str) -> None:
        """Write a file that the job gets, and follow no link that another user's attempt has left there."""
        with suppress(FileNotFoundError):
            path.unlink()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if self._user is not None:
                os.fchown(descriptor, self._user.pw_uid, self._user.pw_gid)

    def _limit(self) -> None:
        """In the job's first process, before its program: it steps back, has limits and a user, dies with the wrapper.

        The wrapper doesn't step back: how a job ended is told at once on a busy computer, too.
        """
        os.setsid()
        niceness = self._order["niceness"]
        with suppress(OSError):
            os.nice(niceness - os.nice(0))
        if niceness:
            with suppress(OSError):  # a session is a group of its own for the scheduler, with a niceness of its own
                Path("/proc/self/autogroup").write_text(str(niceness))
            with suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_OUT_OF_MEMORY_SCORE)
        memory = self._order["memory"]
        if memory:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        if self._user is not None:
            os.initgroups(self._user.pw_name, self._user.pw_gid)
            os.setgid(self._user.pw_gid)
            os.setuid(self._user.pw_uid)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of the user would forget it
        if os.getppid() != self._pid:
            os._exit(1)  # the wrapper has died meanwhile

    # While it runs -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Until no process is left."""
        readable = [self._output, self._wake]
        while self._reap():
            now = steady_seconds()
            self._look_at_limits(now)
            wait = self._end_others(now)
            ready, _, _ = select.select(readable, [], [], wait)
            if self._output in ready and not self._read_output():
                readable.remove(self._output)
            if self._wake in ready and signal.SIGTERM in os.read(self._wake, 4096):
                self._end("stopped")

    def _reap(self) -> bool:
        """Bury what has ended; False when no process is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                if self._status is not None:
                    self._end("")  # what it has left behind is ended, too
                return True
            if pid == self._main:
                self._main, self._status = 0, status

    def _look_at_limits(self, now: float) -> None:
        seconds, memory = self._order["seconds"], self._order["memory"]
        if self._ending_since is not None:
            return
        if seconds and now - self._began >= seconds:
            self._end(f"it took longer than {seconds:g} s")
        elif memory and now >= self._memory_due:
            self._memory_due = now + _MEMORY_LOOK_SECONDS
            used = sum(map(_private_bytes, descendants(os.getpid())))
            if used > memory:
                self._end(f"it used more than {memory / 2**20:g} MiB", at_once=True)

    def _end(self, why: str, at_once: bool = False) -> None:
        """Begin to end what is left: SIGTERM to all of it, and SIGKILL after the grace, or at once."""
        if self._status is None and not self._why:
            self._why = why
        if self._ending_since is None:
            self._ending_since = steady_seconds()
            for pid in descendants(os.getpid()):
                with suppress(OSError):
                    os.kill(pid, signal.SIGTERM)
        if at_once:
            self._ending_since = -float("inf")

    def _end_others(self, now: float) -> float:
        """Kill what has had its grace; returns the seconds until the next look."""
        if self._ending_since is None:
            wait = 60.0
            if self._order["seconds"]:
                wait = min(wait, self._began + self._order["seconds"] - now)
            if self._order["memory"]:
                wait = min(wait, self._memory_due - now)
            if self._progress is not None:
                wait = min(wait, self._progress_due - now)
                self._save_progress(now)
            return max(0.0, wait)
        left: float = self._ending_since + self._order["grace"] - now
        if left > 0:
            return left
        self._killing_since = self._killing_since or now
        if now - self._killing_since > _UNKILLABLE_SECONDS:
            left_behind = descendants(os.getpid())
            self._why += f"; these processes cannot be killed: {' '.join(map(str, left_behind))}"
            self._write_result()
            os._exit(0)
        kill_all(lambda: descendants(os.getpid()))
        return _KILL_LOOK_SECONDS

    # What it prints ----------------------------------------------------------------------------------------------

    def _read_output(self) -> bool:
        """Take what was printed to the log; False at its end."""
        try:
            while data := os.read(self._output, 1 << 16):
                self._write_log(data)
                self._find_progress(data)
        except BlockingIOError:
            return True
        return False

    def _write_log(self, data: bytes) -> None:
        if self._log_room <= 0:
            return
        with suppress(OSError):  # a full disk ends no job
            os.write(self._log, data[: self._log_room])
            self._log_room -= len(data)
            if self._log_room <= 0:
                os.write(self._log, b"\npyros: the log is full; what follows is not kept\n")

    def _find_progress(self, data: bytes) -> None:
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest[-_MAX_LINE:]
        for line in reversed(lines):
            found = _PROGRESS.match(line.strip()[:_MAX_LINE])
            if found and float(found[1]) <= 100:
                text = found[2].decode("utf-8", "replace").strip()
                self._progress = {"percent": float(found[1]), "text": text, "time": system_time()}
                self._save_progress(steady_seconds())
                return

    def _save_progress(self, now: float = float("inf")) -> None:
        """Write the newest progress for people, not more than some times a second."""
        if self._progress is None or now < self._progress_due:
            return
        self._progress_due = now + _PROGRESS_SECONDS
        partial = self._folder / ".progress.json.partial"
        with suppress(OSError):
            partial.write_text(json.dumps(self._progress), encoding="utf-8")
            partial.replace(self._folder / "progress.json")
            self._progress = None

    def _write_result(self) -> None:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        status = self._status
        result = {
            "code": os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
            "signal": os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
            "why": self._why,
            "seconds": steady_seconds() - self._began,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "memory": used.ru_maxrss * 1024,
        }
        partial = self._folder / ".result.json.partial"
        partial.write_text(json.dumps(result), encoding="utf-8")
        partial.replace(self._folder / f"result-{self._order['attempt']}.json")


def kill_all(find: Any) -> None:
    """Kill what ``find()`` finds; what is stopped first cannot fork any more while the others are looked for."""
    stopped: set[int] = set()
    while fresh := set(find()) - stopped:
        for pid in fresh:
            with suppress(OSError):
                os.kill(pid, signal.SIGSTOP)
        stopped |= fresh
    for pid in stopped:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def descendants(ancestor: int) -> list[int]:
    """Return the process numbers of all that a process has started, directly or not, without zombies."""
    children: dict[int, list[tuple[int, bool]]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                children.setdefault(int(fields[1]), []).append((int(entry.name), fields[0] in (b"Z", b"X")))
    found: list[int] = []
    looking = [ancestor]
    while looking:
        for pid, dead in children.pop(looking.pop(), []):
            looking.append(pid)
            if not dead:
                found.append(pid)
    return found


def _private_bytes(pid: int) -> int:
    """Bytes of memory that a process has for itself."""
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * resource.getpagesize()


if __name__ == "__main__":
    if "--help" in sys.argv:
        sys.stdout.write(__doc__ or "")
    else:
        launch()
