#!/usr/bin/env python3
"""The one program of the portal on a login node: sshd runs it as a forced command, as the person logged in.

    …/firefly-gateway --role member|collector|admin|fencer

Contract. SSH_ORIGINAL_COMMAND is exactly one word:

    talk  stdin a JSON line {"v":2,"budget":SECONDS,"calls":[{"verb","args":[…],"token"}…]}, and another, and so on
          stdout for each a JSON line {"v":2,"time":SECONDS,"results":[{"exit","stdout","stderr","truncated"}…]}
    put   stdin a JSON line {"token","path","offset","size","sha256","mode"}, then bytes
          stdout {"v":2,"offset":SIZE_SO_FAR,"complete":BOOL}
    get   stdin a JSON line {"token","path","offset","length"}
          stdout a JSON line {"v":2,"size","length"}, then that many bytes

A call of `sbatch` may bring small files along: "files":[{"path","mode","sha256","data" (base64)}…].

Each verb of `talk` belongs to a role; its options are checked one by one, so no text of a user ever reaches
an argument. `exit` null means that nobody knows what the call did. Verbs of the gateway itself print JSON.
What the gateway refuses by itself has exit 64 and a stderr that begins with "gateway: "; exit 73: the job's folder
or a file of it could not be written, so nothing was submitted.
A request that can't be read: {"v":2,"error":SENTENCE} and exit 2; put or get that failed: the same, exit 1,
and "transient":true if sending it again may help.

The job's folder is ~/firefly/TOKEN. Submitting leaves marks in it: `.submitting` before sbatch, locked
while sbatch lives, under which the job's files are written; `.submitted` with the id after it. A second sbatch for the token gives the same id, or
"nobody knows". Only `forget`, sent when queue and accounting have been asked, opens the way again.
Nothing of this is forced to the disk, which would take longer than sbatch: the marks stand between programs that run
now. After a crash of the machine the portal asks queue and accounting, whatever marks are left.

Standard library only, Python 3.9 or newer, no shell, no sudo. Settings: gateway.json beside this file.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import re
import selectors
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSION = 2  # the portal speaks to its own only: they are installed together
HERE = Path(__file__).resolve().parent
LOGS = ("stdout.log", "stderr.log")  # in the job's folder
TASK_LOGS = ("stdout-%a.log", "stderr-%a.log")  # of each task of a sweep: stdout-0.log
A_LOG = re.compile(r"std(out|err)(-[0-9]+)?\.log")

REQUEST_CAP = 8 << 20
HEADER_CAP = 64 << 10
CALLS_CAP = 1000
OUTPUT_CAP = 64 << 20  # of all calls of one request together
STDERR_CAP = 64 << 10
TAIL_CAP = 256 << 10
LIST_CAP = 5000
CHUNK = 1 << 20
LONGEST_RUN = 240  # seconds for all calls of one request: less than a certificate's life
LAST_RESORT = 900  # seconds after which this process ends, whatever it waits for

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # non-blocking: a FIFO must not hold us


class Malformed(Exception):
    """The request can't be read; nothing was done."""


class Refusal(Exception):
    """The gateway won't do it; nothing was done."""


class Damaged(Refusal):
    """What arrived is not what was sent; sending it again may help."""


class Unready(Refusal):
    """What the job needs could not be written: no room, say. Nothing was submitted."""


class File(NamedTuple):
    """A small one, whole."""

    path: str
    mode: int
    sha256: str
    data: bytes


class Call(NamedTuple):
    verb: str
    args: tuple[str, ...]
    token: str
    files: tuple[File, ...] = ()


class Result(NamedTuple):
    exit: int | None
    stdout: str = ""
    stderr: str = ""
    truncated: bool = False


def told(value: dict[str, Any]) -> Result:
    return Result(0, json.dumps(value, ensure_ascii=False))


# --- what may be said ---------------------------------------------------------------------------------


NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
COUNT = re.compile(r"[1-9][0-9]{0,6}")
TOKEN = re.compile(r"[a-z0-9]{26}")
TOKENS = re.compile(r"[a-z0-9]{26}(,[a-z0-9]{26})*")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
USERNAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
JOB_ID = re.compile(r"\d{1,10}([_+]\d{1,10})?")
JOB_IDS = re.compile(r"\d{1,10}(,\d{1,10})*")
FIELDS = re.compile(r"[A-Za-z]+(,[A-Za-z]+)*")
DELIMITER = re.compile(r"@[0-9a-f]{16}@")
SQUEUE_FORMAT = re.compile(r"(%[A-Za-z]@[0-9a-f]{16}@)+")
BUDGET = re.compile(r"al-[0-9]{1,18}")  # the portal's own QOS: one for each allocation
MINUTES = re.compile(r"[0-9]{1,15}")
FLAG = re.compile(r"")

SBATCH_OPTIONS = {
    "--account": NAME,
    "--qos": BUDGET,
    "--partition": NAME,
    "--nodes": COUNT,
    "--ntasks-per-node": COUNT,
    "--cpus-per-task": COUNT,
    "--mem": re.compile(r"[1-9][0-9]{0,9}M"),
    "--gres": re.compile(r"gpu(:[A-Za-z0-9_][A-Za-z0-9._-]{0,63})?:[1-9][0-9]{0,3}"),
    "--time": COUNT,
    "--signal": re.compile(r"B:USR1@[1-9][0-9]{0,4}"),
    "--requeue": FLAG,
    "--array": re.compile(r"0-[1-9][0-9]{0,2}(%[1-9][0-9]{0,2})?"),  # a sweep of 1,000 tasks at most
}
SQUEUE_OPTIONS = {
    "--format": SQUEUE_FORMAT,
    "--name": TOKENS,
    "--states": re.compile(r"all"),
    "--array": FLAG,
    "--noheader": FLAG,
}
SACCT_OPTIONS = {
    "--starttime": TIME,
    "--endtime": TIME,
    "--format": FIELDS,
    "--delimiter": DELIMITER,
    "--name": TOKENS,
    "--jobs": JOB_IDS,
    "--allocations": FLAG,
    "--duplicates": FLAG,
    "--noconvert": FLAG,
    "--noheader": FLAG,
    "--parsable": FLAG,
}
SINFO_OPTIONS = {
    "--Format": re.compile(r"[A-Za-z]+:[0-9]{1,3}(,[A-Za-z]+:[0-9]{1,3})*"),
    "--noheader": FLAG,
    "--Node": FLAG,
}
HOUR = re.compile(r"\d{4}-\d\d-\d\dT\d\d:00:00")
SREPORTS = {
    "accounts": ("cluster", "AccountUtilizationByUser", "format=Account,Login,Used"),
    "utilization": ("cluster", "Utilization", "format=TRESName,Reported"),
    "reservations": ("reservation", "Utilization", "format=Name,TRESName,Idle"),
}


def checked(args: tuple[str, ...], allowed: dict[str, re.Pattern[str]]) -> list[str]:
    for arg in args:
        name, equals, value = arg.partition("=")
        rule = allowed.get(name)
        if rule is None or bool(equals) == (rule is FLAG) or not rule.fullmatch(value):
            raise Refusal(f"option not allowed: {printable(arg)}")
    return list(args)


def positional(args: tuple[str, ...], *rules: re.Pattern[str]) -> tuple[str, ...]:
    if len(args) != len(rules):
        raise Refusal(f"takes {len(rules)} argument(s), got {len(args)}")
    for index, rule in enumerate(rules):
        if not rule.fullmatch(args[index]):
            raise Refusal(f"argument not allowed: {printable(args[index])}")
    return args


def path_parts(path: str) -> tuple[str, ...]:
    """The parts of a path inside a job's folder, or a Refusal."""
    parts = tuple(path.split("/"))
    if len(parts) > 16:
        raise Refusal("the path is deeper than 16 folders")
    for part in parts:
        if not part or part[0] in "-.~" or not part.isprintable() or len(os.fsencode(part)) > 200:
            raise Refusal(f"the path has a part that is not allowed: {printable(path)}")
    return parts


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:200])


# --- running a program --------------------------------------------------------------------------------


def settings() -> dict[str, str]:
    try:
        loaded = json.loads((HERE / "gateway.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Malformed(f"gateway.json beside the gateway can't be read: {error}") from None
    if not isinstance(loaded, dict) or not all(isinstance(value, str) for value in loaded.values()):
        raise Malformed("gateway.json must be an object of texts")
    return loaded


def environment() -> dict[str, str]:
    config = settings()
    clean = {
        "PATH": config.get("path", "/usr/bin:/bin"),
        "HOME": str(home()),
        "LANG": "C.UTF-8",
        "LC_ALL": "C",
        "TZ": "UTC",
        "SLURM_TIME_FORMAT": "standard",
    }
    if config.get("slurm_conf"):
        clean["SLURM_CONF"] = config["slurm_conf"]
    return clean


def where() -> str:
    """The home as it is now: it may have been mounted anew since this process began, and sbatch asks where it is."""
    return str(home()) if home().is_dir() else "/"


def program(name: str, folders: str) -> str:
    """Popen looks programs up on our own PATH, not on the one we hand over: find it ourselves."""
    for folder in folders.split(":"):
        candidate = Path(folder) / name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    raise FileNotFoundError(f"{name} is not on the gateway's path")


class Budget:
    """Time and output left for the calls of one request. After one call ran out of time, none is started."""

    def __init__(self, seconds: float, output: int) -> None:
        self.ends = time.monotonic() + seconds
        self.output = output

    def execute(self, argv: list[str], seconds: float, pass_fds: tuple[int, ...] = ()) -> Result:
        deadline = min(time.monotonic() + seconds, self.ends)
        if deadline <= time.monotonic():
            return Result(75, "", "gateway: not started: no time left")
        env = environment()
        try:
            process = subprocess.Popen(
                [program(argv[0], env["PATH"]), *argv[1:]],
                env=env,
                cwd=where(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        except OSError as error:
            return Result(75, "", f"gateway: not started: {error}")
        with process:
            result = watch(process, deadline, self.output)
        self.output -= len(result.stdout)
        if result.exit is None:
            self.ends = 0.0
        return result


def watch(process: subprocess.Popen[bytes], deadline: float, cap: int) -> Result:
    """Read both pipes to their end or to the deadline; what is over the cap is read and dropped."""
    kept, room = {"stdout": bytearray(), "stderr": bytearray()}, {"stdout": cap, "stderr": STDERR_CAP}
    truncated = False
    with selectors.DefaultSelector() as selector:
        for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr")):
            if stream:
                selector.register(stream, selectors.EVENT_READ, name)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                chunk = os.read(key.fd, CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                free = room[key.data] - len(kept[key.data])
                truncated = truncated or len(chunk) > free
                kept[key.data] += chunk[:free]
    exit_code = ended(process, deadline)
    out, err = kept["stdout"].decode("utf-8", "replace"), kept["stderr"].decode("utf-8", "replace")
    return Result(
        exit_code, out, err if exit_code is not None else f"gateway: ran out of time\n{err}", truncated
    )


def ended(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    try:
        return process.wait(max(0.05, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


# --- the job's folder ---------------------------------------------------------------------------------


def home() -> Path:
    return Path(os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)


def me() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


@contextlib.contextmanager
def opened(path: str, flags: int, mode: int = 0o600, *, within: int | None = None) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC, mode, dir_fd=within)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def job_folder(token: str) -> Iterator[int]:
    if not TOKEN.fullmatch(token):
        raise Refusal("the token is not one of the portal's")
    try:
        with walked(home_folder(), ("firefly", token)) as folder:
            yield folder
    except FileNotFoundError as error:
        if error.filename in ("firefly", token):
            raise Refusal("the job has no folder here") from None
        raise


def home_folder() -> int:
    return os.open(home(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@contextlib.contextmanager
def walked(start: int, folders: tuple[str, ...], *, create: bool = False) -> Iterator[int]:
    """An open folder under `start` (which is closed), reached without following any symbolic link."""
    here = start
    try:
        for name in folders:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=here)
            below = os.open(name, OPEN_FOLDER | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


@contextlib.contextmanager
def parent_of(token: str, parts: tuple[str, ...], *, create: bool = False) -> Iterator[int]:
    with job_folder(token) as folder, walked(os.dup(folder), parts[:-1], create=create) as parent:
        yield parent


def regular(fd: int) -> os.stat_result:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise Refusal("that is no regular file")
    return status


def read_small(folder: int, name: str) -> str:
    try:
        with opened(name, OPEN_FILE, within=folder) as fd:
            return os.read(fd, 4096).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def write_small(folder: int, name: str, text: str) -> None:
    """Whole or not at all."""
    with opened(name + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, within=folder) as fd:
        os.write(fd, text.encode())
    os.rename(name + ".new", name, src_dir_fd=folder, dst_dir_fd=folder)


def write_file(folder: int, file: File) -> None:
    """Whole or not at all."""
    if hashlib.sha256(file.data).hexdigest() != file.sha256:
        raise Damaged(f"the bytes of {printable(file.path)} differ from its sha256")
    *above, name = job_file(file.path)
    with walked(os.dup(folder), tuple(above), create=True) as parent:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        with opened(partial(name), flags, within=parent) as fd:
            regular(fd)
            os.ftruncate(fd, 0)
            write_all(fd, file.data)
            os.fchmod(fd, file.mode)
        os.rename(partial(name), name, src_dir_fd=parent, dst_dir_fd=parent)


# --- verbs: member ------------------------------------------------------------------------------------


def prepare(call: Call, budget: Budget) -> Result:
    """Make the job's folder: for files that come before the job is submitted."""
    positional(call.args)
    return told({"created": make_folder(call.token)})


def make_folder(token: str) -> bool:
    """Whether it is new."""
    if not TOKEN.fullmatch(token):
        raise Refusal("the token is not one of the portal's")
    try:
        with walked(home_folder(), ("firefly",), create=True) as parent:
            try:
                os.mkdir(token, 0o700, dir_fd=parent)
            except FileExistsError:
                return False
    except OSError as error:
        raise Unready(f"the job's folder can't be made: {error.strerror}") from None
    return True


def sbatch(call: Call, budget: Budget) -> Result:
    """args: options, then the member's script inside the folder. stdout is the id, as `sbatch --parsable` says it."""
    if not call.args:
        raise Refusal("takes the script as its last argument")
    options, script = checked(call.args[:-1], SBATCH_OPTIONS), path_parts(call.args[-1])
    make_folder(call.token)
    with job_folder(call.token) as folder:
        known = read_small(folder, ".submitted")
        if known:
            return Result(0, known)
        try:
            mark = os.open(
                ".submitting", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder
            )
        except FileExistsError:
            return Result(None, "", "gateway: an earlier submission of this job left no answer")
        except OSError as error:
            raise Unready(f"the job's folder can't be written: {error.strerror}") from None
        try:
            lock(folder, mark)
            ready(folder, script, call.files)
            result = budget.execute(submission(call.token, options), 60, pass_fds=(mark,))
        finally:
            os.close(mark)
        if result.exit == 0:
            with contextlib.suppress(OSError):  # the id must reach the portal even when the disk is full
                write_small(folder, ".submitted", result.stdout)
        return result


def lock(folder: int, mark: int) -> None:
    """From now on nobody takes the mark away. sbatch inherits the lock, so that `forget` can tell whether it lives."""
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        here = os.stat(".submitting", dir_fd=folder, follow_symlinks=False).st_ino
    except (BlockingIOError, FileNotFoundError):
        raise Refusal("not started: the mark is just being taken away") from None
    if here != os.fstat(mark).st_ino:
        raise Refusal("not started: the mark was taken away")


def ready(folder: int, script: tuple[str, ...], files: tuple[File, ...]) -> None:
    """Write the files and name the payload. If that goes wrong, nothing was sent, and the mark is taken back."""
    try:
        for file in files:
            write_file(folder, file)
        check_script(folder, script)
        write_small(folder, ".script", "/".join(script) + "\n")
    except BaseException as error:
        os.unlink(".submitting", dir_fd=folder)
        if isinstance(error, Damaged | OSError):
            raise Unready(getattr(error, "strerror", None) or str(error)) from None
        raise


def check_script(folder: int, script: tuple[str, ...]) -> None:
    try:
        with (
            walked(os.dup(folder), script[:-1]) as parent,
            opened(script[-1], OPEN_FILE, within=parent) as fd,
        ):
            regular(fd)
    except OSError as error:
        raise Refusal(f"the script can't be read: {error.strerror}") from None


def submission(token: str, options: list[str]) -> list[str]:
    folder = home() / "firefly" / token
    out, err = TASK_LOGS if any(option.startswith("--array=") for option in options) else LOGS
    return [
        "sbatch",
        *options,
        "--parsable",
        f"--job-name={token}",
        f"--chdir={folder}",
        f"--output={folder / out}",
        f"--error={folder / err}",
        "--open-mode=append",  # a requeued job must not wipe the log of its first run
        "--export=NONE",
        "--ignore-pbs",
        str(HERE / "job.sh"),
    ]


def sbatch_test(call: Call, budget: Budget) -> Result:
    options = checked(call.args, SBATCH_OPTIONS)
    job = str(HERE / "job.sh")
    return budget.execute(["sbatch", "--test-only", *options, "--export=NONE", "--ignore-pbs", job], 30)


def forget(call: Call, budget: Budget) -> Result:
    positional(call.args)
    with job_folder(call.token) as folder:
        known = read_small(folder, ".submitted")
        if known:
            raise Refusal(f"was submitted as {printable(known.strip())}")
        try:
            with opened(".submitting", os.O_RDWR | os.O_NOFOLLOW, within=folder) as mark:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(".submitting", dir_fd=folder)
        except FileNotFoundError:
            return told({"forgotten": False})
        except BlockingIOError:
            raise Refusal("is still being sent") from None
    return told({"forgotten": True})


def my_queue(call: Call, budget: Budget) -> Result:
    return budget.execute(["squeue", f"--user={me()}", *checked(call.args, SQUEUE_OPTIONS)], 60)


def my_records(call: Call, budget: Budget) -> Result:
    return budget.execute(["sacct", f"--user={me()}", *checked(call.args, SACCT_OPTIONS)], 60)


def scancel(call: Call, budget: Budget) -> Result:
    """scancel itself checks all three at once: the id, the caller, and that the job's name is the token."""
    (job_id,) = positional(call.args, JOB_ID)
    if not TOKEN.fullmatch(call.token):
        raise Refusal("the token is not one of the portal's")
    return budget.execute(["scancel", f"--user={me()}", f"--name={call.token}", job_id], 60)


def offset(call: Call, budget: Budget) -> Result:
    (path,) = positional(call.args, re.compile(r".*", re.DOTALL))
    parts = path_parts(path)
    try:
        with parent_of(call.token, parts) as parent:
            return told({"offset": size_so_far(parent, parts[-1])})
    except FileNotFoundError:
        return told({"offset": 0})


def size_so_far(parent: int, name: str) -> int:
    for candidate in (partial(name), name):
        with contextlib.suppress(FileNotFoundError), opened(candidate, OPEN_FILE, within=parent) as fd:
            return regular(fd).st_size
    return 0


def partial(name: str) -> str:
    return f".part-{name}"


def list_files(call: Call, budget: Budget) -> Result:
    """Regular files with names that the portal may ask for again; the rest is counted, not named."""
    positional(call.args)
    files: list[dict[str, Any]] = []
    with job_folder(call.token) as folder:
        others = sum(1 for entry in entries(folder, ()) if not gathered(entry, files))
    return told({"files": files, "others": others, "truncated": len(files) >= LIST_CAP})


def entries(folder: int, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
    for name in sorted(os.listdir(folder)):
        with contextlib.suppress(FileNotFoundError):  # the job is alive: files come and go
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                yield (*above, name), status
            elif len(above) < 15 and not name.startswith("."):
                with opened(name, OPEN_FOLDER, within=folder) as below:
                    yield from entries(below, (*above, name))


def gathered(entry: tuple[tuple[str, ...], os.stat_result], files: list[dict[str, Any]]) -> bool:
    parts, status = entry
    if parts[-1].startswith("."):
        return True  # ours, or hidden on purpose
    if not stat.S_ISREG(status.st_mode) or len(files) >= LIST_CAP:
        return False
    try:
        path_parts("/".join(parts))
    except Refusal:
        return False
    files.append({"path": "/".join(parts), "size": status.st_size, "mtime": int(status.st_mtime)})
    return True


def tail(call: Call, budget: Budget) -> Result:
    """args: path, first byte (-1: the last TAIL_CAP bytes). Bytes in base64; a file that isn't there has size null."""
    path, first = positional(call.args, re.compile(r".*", re.DOTALL), re.compile(r"-1|\d{1,15}"))
    parts = path_parts(path)
    try:
        with parent_of(call.token, parts) as parent, opened(parts[-1], OPEN_FILE, within=parent) as fd:
            size = regular(fd).st_size
            start = max(0, size - TAIL_CAP) if first == "-1" else min(int(first), size)
            data = os.pread(fd, min(TAIL_CAP, size - start), start)
    except FileNotFoundError:
        return told({"size": None, "offset": 0, "data": ""})
    return told({"size": size, "offset": start, "data": base64.b64encode(data).decode()})


def space(call: Call, budget: Budget) -> Result:
    positional(call.args)
    status = os.statvfs(home())
    return told({"free": status.f_bavail * status.f_frsize, "total": status.f_blocks * status.f_frsize})


# --- verbs: collector ---------------------------------------------------------------------------------


def all_queues(call: Call, budget: Budget) -> Result:
    return budget.execute(["squeue", *checked(call.args, SQUEUE_OPTIONS)], 60)


def all_records(call: Call, budget: Budget) -> Result:
    return budget.execute(["sacct", "--allusers", *checked(call.args, SACCT_OPTIONS)], 180)


def sinfo(call: Call, budget: Budget) -> Result:
    return budget.execute(["sinfo", *checked(call.args, SINFO_OPTIONS)], 30)


def sreport(call: Call, budget: Budget) -> Result:
    """args: which report, its first hour, and the hour before which it ends, in UTC. GPU-seconds."""
    report, start, end = positional(call.args, re.compile("|".join(SREPORTS)), HOUR, HOUR)
    what = [*SREPORTS[report], f"start={start}", f"end={end}"]
    return budget.execute(["sreport", "-t", "seconds", "-T", "gres/gpu", "-P", "-n", *what], 120)


def scontrol_ping(call: Call, budget: Budget) -> Result:
    positional(call.args)
    return budget.execute(["scontrol", "ping"], 20)


def scontrol_config(call: Call, budget: Budget) -> Result:
    positional(call.args)
    return budget.execute(["scontrol", "show", "config"], 20)


def sacct_fields(call: Call, budget: Budget) -> Result:
    positional(call.args)
    return budget.execute(["sacct", "--helpformat"], 20)


def sacctmgr_sight(call: Call, budget: Budget) -> Result:
    """What the collector may see: lines `level|…`, `private|…` (slurmdbd's PrivateData), `accounts|` and how many."""
    positional(call.args)
    asked = (
        ["show", "user", me(), "format=adminlevel"],
        ["show", "configuration"],
        ["show", "associations", "format=account"],
    )
    told = [budget.execute(["sacctmgr", "--noheader", "--parsable2", *words], 60) for words in asked]
    for result in told:
        if result.exit != 0 or result.truncated:
            return Result(result.exit or 1, "", result.stderr)
    level, config, accounts = (result.stdout for result in told)
    private = re.search(r"^PrivateData\s*=\s*(\S*)", config, re.MULTILINE)
    lines = [
        f"level|{level.strip()}",
        f"private|{private[1] if private else ''}",
        f"accounts|{len(set(accounts.split()))}",
    ]
    return Result(0, "\n".join(lines) + "\n")


# --- verbs: admin -------------------------------------------------------------------------------------

OWNER = "firefly-portal"  # the organization that marks an account in Slurm as the portal's own


def ours(username: str) -> str:
    prefix = settings().get("username_prefix", "")
    if not USERNAME.fullmatch(username) or not prefix or not username.startswith(prefix):
        raise Refusal(f"not a username that the portal may manage: {printable(username)}")
    with contextlib.suppress(KeyError):
        if pwd.getpwnam(username).pw_uid < 1000:
            raise Refusal(f"a system user: {username}")
    return username


def setting(name: str) -> Path:
    value = settings().get(name)
    if not value:
        raise Refusal(f"gateway.json has no {name}: this site makes users by hand")
    return Path(value)


def request_user(call: Call, budget: Budget) -> Result:
    return ask_for("active", call)


def disable_user(call: Call, budget: Budget) -> Result:
    """Have the user's logins ended and no certificate let in any more: the hook does it, as root."""
    return ask_for("disabled", call)


def ask_for(state: str, call: Call) -> Result:
    (username,) = positional(call.args, USERNAME)
    request = {"v": VERSION, "username": ours(username), "want": state, "requested_at": int(time.time())}
    folder = os.open(setting("provision_requests"), OPEN_FOLDER | os.O_CLOEXEC)
    try:
        write_small(folder, f"{username}.json", json.dumps(request) + "\n")
    finally:
        os.close(folder)
    return told({"requested": True})


def user_answer(call: Call, budget: Budget) -> Result:
    (username,) = positional(call.args, USERNAME)
    try:
        with opened(str(setting("provision_answers") / f"{ours(username)}.json"), OPEN_FILE) as fd:
            return Result(0, os.read(fd, 4096).decode("utf-8", "replace"))
    except FileNotFoundError:
        return told({})


def user_exists(call: Call, budget: Budget) -> Result:
    (username,) = positional(call.args, USERNAME)
    try:
        return told({"exists": True, "uid": pwd.getpwnam(ours(username)).pw_uid})
    except KeyError:
        return told({"exists": False})


def sacctmgr(budget: Budget, *words: str) -> Result:
    return budget.execute(["sacctmgr", "--immediate", "--noheader", "--parsable2", *words], 30)


ACCOUNT = re.compile(
    r"[a-z0-9_][a-z0-9._-]{0,39}"
)  # sacctmgr folds to lower case: we never send anything else


def owned(budget: Budget, *accounts: str) -> set[str]:
    """Those of `accounts` that exist; a Refusal if one is another's. Slurm itself remembers whose each is."""
    shown = sacctmgr(budget, "show", "account", f"name={','.join(accounts)}", "format=account,organization")
    if shown.exit != 0:
        raise Refusal(f"not started: can't see whose account this is: {printable(shown.stderr)}")
    owners = dict(line.split("|", 1) for line in shown.stdout.splitlines() if "|" in line)
    for account, owner in owners.items():
        if owner != OWNER:
            raise Refusal(f"not an account of the portal: {printable(account)}")
    return set(owners)


def sacctmgr_account(call: Call, budget: Budget) -> Result:
    """args: account, its parent (root, or an account of the portal)."""
    account, parent = positional(call.args, ACCOUNT, ACCOUNT)
    there = owned(budget, account) if parent == "root" else owned(budget, account, parent)
    if account in there:
        return Result(0)
    if parent != "root" and parent not in there:
        raise Refusal(f"there is no account {parent} to put {account} below")
    words = ("add", "account", account, f"parent={parent}", f"organization={OWNER}", f"description={account}")
    return sacctmgr(budget, *words)


def sacctmgr_user(call: Call, budget: Budget) -> Result:
    return change_user("add", call, budget)


def sacctmgr_remove_user(call: Call, budget: Budget) -> Result:
    return change_user("remove", call, budget)


def change_user(change: str, call: Call, budget: Budget) -> Result:
    username, account = positional(call.args, USERNAME, ACCOUNT)
    ours(username)
    if account not in owned(budget, account):
        raise Refusal(f"there is no account {account}")
    where = f"name={username}" if change == "remove" else username
    return sacctmgr(budget, change, "user", where, f"account={account}")


def scancel_of(call: Call, budget: Budget) -> Result:
    """args: user, account, job. Another's job, in an account of the portal: Slurm lets its coordinator, and nobody else.

    slurmctld learns who coordinates an account below the coordinator's own only when it starts: so it is told.
    """
    username, account, job_id = positional(call.args, USERNAME, ACCOUNT, JOB_ID)
    ours(username)
    if account not in owned(budget, account):
        raise Refusal(f"there is no account {account}")
    sacctmgr(budget, "add", "coordinator", f"account={account}", f"names={me()}")
    shown = budget.execute(["scontrol", "--oneliner", "show", "job", job_id], 20)
    if shown.exit != 0:
        return shown
    told = shown.stdout.split()
    if f"Account={account}" not in told or not any(t.startswith(f"UserId={username}(") for t in told):
        raise Refusal(f"{job_id} is not a job of {username} on {account}")
    return budget.execute(["scancel", job_id], 60)


def sacctmgr_show(call: Call, budget: Budget) -> Result:
    """args: accounts. Lines account|parent|user: each account itself (no user), and everyone in it (no parent)."""
    accounts = positional(call.args, *[ACCOUNT] * max(1, len(call.args)))
    return sacctmgr(
        budget, "show", "assoc", f"account={','.join(accounts)}", "format=account,parentname,user"
    )


# --- verbs: fencer --------------------------------------------------------------------------------------
#
# Slurm lets only its Administrators make a QOS, so this user has that level, and these verbs alone.


def budgets(budget: Budget, *names: str) -> set[str]:
    """Those QOS of `names` that exist; a Refusal if one is another's. Their description says whose they are."""
    shown = sacctmgr(budget, "show", "qos", f"name={','.join(names)}", "format=name,description")
    if shown.exit != 0:
        raise Refusal(f"not started: can't see whose QOS this is: {printable(shown.stderr)}")
    owners = dict(line.split("|", 1) for line in shown.stdout.splitlines() if "|" in line)
    for name, owner in owners.items():
        if owner != OWNER:
            raise Refusal(f"not a QOS of the portal: {printable(name)}")
    return set(owners)


def sacctmgr_qos(call: Call, budget: Budget) -> Result:
    """args: QOS, GPU-minutes. Make it, or set its limit. NoDecay: what was used stays used."""
    name, minutes = positional(call.args, BUDGET, MINUTES)
    limits = ("flags=NoDecay", f"GrpTRESMins=gres/gpu={minutes}")
    if name in budgets(budget, name):
        return sacctmgr(budget, "modify", "qos", "where", f"name={name}", "set", *limits)
    return sacctmgr(budget, "add", "qos", name, *limits, f"description={OWNER}")


def sacctmgr_budget(call: Call, budget: Budget) -> Result:
    """args: cluster, account, and every QOS that it may use, the default first.

    People in an account have what it has, unless somebody gave them others. Those are taken back before: Slurm
    refuses the account a default that one of its people may not use. (That fails where nobody is in it yet.)
    """
    cluster, account, *names = positional(call.args, NAME, ACCOUNT, *[BUDGET] * max(1, len(call.args) - 2))
    if account not in owned(budget, account):
        raise Refusal(f"there is no account {account}")
    missing = set(names) - budgets(budget, *names)
    if missing:
        raise Refusal(f"there is no QOS {', '.join(sorted(missing))}")
    where = ("where", f"cluster={cluster}", f"account={account}", "set")
    sacctmgr(budget, "modify", "user", *where, "qos=", "defaultqos=-1")
    return sacctmgr(budget, "modify", "account", *where, f"qos={','.join(names)}", f"defaultqos={names[0]}")


def sacctmgr_show_qos(call: Call, budget: Budget) -> Result:
    """Lines name|flags of every QOS."""
    positional(call.args)
    return sacctmgr(budget, "show", "qos", "format=name,flags")


def sacctmgr_show_budget(call: Call, budget: Budget) -> Result:
    """args: cluster, accounts. Lines account|user|QOS|default: each account itself (no user), and everyone in it."""
    cluster, *accounts = positional(call.args, NAME, *[ACCOUNT] * max(1, len(call.args) - 1))
    words = (f"cluster={cluster}", f"account={','.join(accounts)}", "format=account,user,qos,defaultqos")
    return sacctmgr(budget, "show", "assoc", *words)


def scontrol_qos(call: Call, budget: Budget) -> Result:
    """Every QOS as the controller has it: its limits, and what was used of them."""
    positional(call.args)
    return budget.execute(["scontrol", "--oneliner", "show", "assoc_mgr", "flags=qos"], 30)


# --- verbs: everyone ----------------------------------------------------------------------------------


def hello(call: Call, budget: Budget) -> Result:
    positional(call.args)
    version = budget.execute(["sinfo", "--version"], 10)
    return told({"gateway": VERSION, "scheduler": version.stdout.strip(), "user": me(), "time": time.time()})


VERBS: dict[str, dict[str, Callable[[Call, Budget], Result]]] = {
    "member": {
        "hello": hello,
        "prepare": prepare,
        "sbatch": sbatch,
        "sbatch-test": sbatch_test,
        "forget": forget,
        "squeue": my_queue,
        "sacct": my_records,
        "scancel": scancel,
        "offset": offset,
        "list": list_files,
        "tail": tail,
        "space": space,
    },
    "collector": {
        "hello": hello,
        "squeue": all_queues,
        "sacct": all_records,
        "sinfo": sinfo,
        "sreport": sreport,
        "scontrol-ping": scontrol_ping,
        "scontrol-config": scontrol_config,
        "sacct-fields": sacct_fields,
        "sacctmgr-sight": sacctmgr_sight,
    },
    "admin": {
        "hello": hello,
        "request-user": request_user,
        "disable-user": disable_user,
        "user-answer": user_answer,
        "user-exists": user_exists,
        "sacctmgr-account": sacctmgr_account,
        "sacctmgr-user": sacctmgr_user,
        "sacctmgr-remove-user": sacctmgr_remove_user,
        "sacctmgr-show": sacctmgr_show,
        "scancel-of": scancel_of,
    },
    "fencer": {
        "hello": hello,
        "sacctmgr-qos": sacctmgr_qos,
        "sacctmgr-budget": sacctmgr_budget,
        "sacctmgr-show-qos": sacctmgr_show_qos,
        "sacctmgr-show-budget": sacctmgr_show_budget,
        "scontrol-qos": scontrol_qos,
    },
}


# --- the three words ----------------------------------------------------------------------------------


def talk(role: str, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """One request after the other, until no more come: starting this program takes longer than most answers."""
    request = stdin.readline(REQUEST_CAP + 1)
    while True:
        signal.alarm(LAST_RESORT)
        seconds, calls = read_request(request)
        budget = Budget(seconds, OUTPUT_CAP)
        results = [answered(role, call, budget)._asdict() for call in calls]
        say(stdout, {"v": VERSION, "time": time.time(), "results": results})
        request = stdin.readline(REQUEST_CAP + 1)
        if not request:
            return


def read_request(request: bytes) -> tuple[int, list[Call]]:
    if len(request) > REQUEST_CAP:
        raise Malformed("the request is too long")
    document = read_object(request)
    calls = document.get("calls")
    if document.get("v") != VERSION:
        raise Malformed(f"this gateway is of version {VERSION}, the request is not")
    if not isinstance(calls, list):
        raise Malformed(f'expected {{"v": {VERSION}, "budget": SECONDS, "calls": […]}}')
    if len(calls) > CALLS_CAP:
        raise Malformed(f"more than {CALLS_CAP} calls")
    return min(whole(document, "budget"), LONGEST_RUN), [read_call(call) for call in calls]


def read_call(document: Any) -> Call:
    if not isinstance(document, dict) or not isinstance(document.get("args"), list):
        raise Malformed("a call is an object with verb, args and token")
    args = tuple(text(arg, "args") for arg in document["args"])
    files = document.get("files", [])
    if not isinstance(files, list) or len(files) > CALLS_CAP:
        raise Malformed("files must be a list")
    verb, token = text(document.get("verb"), "verb"), text(document.get("token"), "token")
    return Call(verb, args, token, tuple(read_file(file) for file in files))


def read_file(document: Any) -> File:
    if not isinstance(document, dict):
        raise Malformed("a file is an object with path, mode, sha256 and data")
    mode, digest = mode_and_digest(document)
    try:
        data = base64.b64decode(text(document.get("data"), "data"), validate=True)
    except ValueError:
        raise Malformed("data must be base64") from None
    return File(text(document.get("path"), "path"), mode, digest, data)


def mode_and_digest(document: dict[str, Any]) -> tuple[int, str]:
    mode, digest = text(document.get("mode"), "mode"), text(document.get("sha256"), "sha256")
    if mode not in ("600", "700") or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise Malformed("mode is not 600 or 700, or sha256 not 64 hexadecimal digits")
    return int(mode, 8), digest


def job_file(path: str) -> tuple[str, ...]:
    """The parts of a path at which a file of the job's may be put."""
    parts = path_parts(path)
    if A_LOG.fullmatch(parts[0]):
        raise Refusal(f"{parts[0]} is where the job's own output goes; give the file another name")
    return parts


def text(value: object, what: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise Malformed(f"{what} must be text")
    return value


def whole(document: dict[str, Any], key: str) -> int:
    value = document.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise Malformed(f"{key} must be a whole number")
    return value


def read_object(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("the request is no JSON") from None
    if not isinstance(document, dict):
        raise Malformed("the request is no JSON object")
    return document


def answered(role: str, call: Call, budget: Budget) -> Result:
    verb = VERBS[role].get(call.verb)
    if verb is None:
        return Result(64, "", f"gateway: no such verb for a {role}: {printable(call.verb)}")
    try:
        return verb(call, budget)
    except Refusal as refusal:
        return Result(73 if isinstance(refusal, Unready) else 64, "", f"gateway: {refusal}")
    except OSError as error:
        return Result(64, "", f"gateway: {error.strerror or error}")
    except Malformed:
        raise
    except Exception as error:  # a mistake of ours: it must not cost the answers of the other calls
        return Result(None, "", f"gateway: failed: {type(error).__name__}")


def put(role: str, stdin: BinaryIO, stdout: BinaryIO) -> None:
    header = read_header(role, stdin)
    token, parts = text(header.get("token"), "token"), job_file(text(header.get("path"), "path"))
    begin, size = whole(header, "offset"), whole(header, "size")
    mode, digest = mode_and_digest(header)
    if begin > size:
        raise Malformed("offset is past size")
    with parent_of(token, parts, create=True) as parent:
        now = write_from(parent, parts[-1], begin, size, stdin)
        complete = now == size
        if complete:
            finish(parent, parts[-1], digest, mode)
    say(stdout, {"v": VERSION, "offset": now, "complete": complete})


def write_from(parent: int, name: str, begin: int, size: int, stdin: BinaryIO) -> int:
    """Append what comes on stdin from `begin` on, never past `size`; give the size reached, on disk."""
    with contextlib.suppress(FileNotFoundError):
        if begin == size == os.stat(name, dir_fd=parent, follow_symlinks=False).st_size:
            return size  # an earlier call completed it, and its answer was lost
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with opened(partial(name), flags, within=parent) as fd:
        have = regular(fd).st_size
        if begin > have:
            raise Refusal(f"offset {begin} is past the {have} bytes that are here")
        os.ftruncate(fd, begin)
        os.lseek(fd, begin, os.SEEK_SET)
        try:
            while chunk := stdin.read(min(CHUNK, size - begin + 1)):
                if begin + len(chunk) > size:
                    raise Refusal("more bytes came than the file's size")
                write_all(fd, chunk)
                begin += len(chunk)
        finally:
            os.fsync(fd)
    return begin


def write_all(fd: int, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[os.write(fd, left) :]


def finish(parent: int, name: str, digest: str, mode: int) -> None:
    """Compare the whole file with its sha256; only then give it its name."""
    try:
        source = partial(name)
        with opened(source, OPEN_FILE, within=parent) as fd:
            same = sha256(fd) == digest
            os.fchmod(fd, mode)
    except FileNotFoundError:
        source = name
        with opened(source, OPEN_FILE, within=parent) as fd:
            same = sha256(fd) == digest
    if not same:
        os.unlink(source, dir_fd=parent)
        raise Damaged(
            "the bytes that arrived differ from the file's sha256; send it again from the beginning"
        )
    os.rename(source, name, src_dir_fd=parent, dst_dir_fd=parent)
    os.fsync(parent)


def sha256(fd: int) -> str:
    regular(fd)
    digest = hashlib.sha256()
    while chunk := os.read(fd, CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def get(role: str, stdin: BinaryIO, stdout: BinaryIO) -> None:
    header = read_header(role, stdin)
    token, parts = text(header.get("token"), "token"), path_parts(text(header.get("path"), "path"))
    begin, length = whole(header, "offset"), whole(header, "length")
    with (
        parent_of(token, parts) as parent,
        opened(parts[-1], OPEN_FILE, within=parent) as fd,
    ):
        size = regular(fd).st_size
        left = max(0, min(length, size - begin))
        say(stdout, {"v": VERSION, "size": size, "length": left})
        os.lseek(fd, begin, os.SEEK_SET)
        while left and (chunk := os.read(fd, min(CHUNK, left))):
            stdout.write(chunk)
            left -= len(chunk)
        stdout.flush()


def read_header(role: str, stdin: BinaryIO) -> dict[str, Any]:
    if role != "member":
        raise Malformed(f"no such word for a {role}")
    line = stdin.readline(HEADER_CAP)
    if not line.endswith(b"\n"):
        raise Malformed("the header line is missing or too long")
    return read_object(line)


WORDS = {"talk": talk, "put": put, "get": get}


def say(stdout: BinaryIO, document: dict[str, Any]) -> None:
    stdout.write(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    stdout.flush()


def main(argv: list[str]) -> int:
    signal.alarm(LAST_RESORT)
    os.umask(0o077)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    try:
        if len(argv) != 3 or argv[1] != "--role" or argv[2] not in VERBS:
            raise Malformed("usage: firefly-gateway --role member|collector|admin|fencer")
        word = WORDS.get(os.environ.get("SSH_ORIGINAL_COMMAND", ""))
        if word is None:
            raise Malformed("the command must be talk, put or get; this login opens no shell")
        word(argv[2], stdin, stdout)
    except Malformed as error:
        say(stdout, {"v": VERSION, "error": str(error)})
        return 2
    except (Refusal, OSError) as error:
        with contextlib.suppress(OSError):  # whoever listened may be gone
            again = isinstance(error, Damaged)
            sentence = getattr(error, "strerror", None) or str(error)
            say(stdout, {"v": VERSION, "error": sentence, "transient": again})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
