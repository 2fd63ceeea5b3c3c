"""The one-machine Slurm of docker/slurm, as the tests see it."""

import os
import subprocess
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

CHECKOUT = Path(__file__).resolve().parents[2]
MARK = os.environ.get("FIREFLY_TEST_MARK", "t")  # of this checkout, see docker/dev/suites.py
PROGRAM = CHECKOUT / "docker" / "slurm" / "cluster.py"

T = TypeVar("T")


@dataclass(frozen=True)
class SlurmCluster:
    state: Path
    name: str
    prefix: str  # of every POSIX user

    @property
    def config(self) -> dict[str, Any]:
        """clusters.toml, parsed."""
        return tomllib.loads((self.state / "clusters.toml").read_text())

    @property
    def root(self) -> Path:
        """The instance's folder as it is called inside."""
        return Path("/run/firefly-portal") / self.name

    def exec(self, argv: Sequence[str], user: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root or as that POSIX user; its exit code is not judged."""
        become = ["--user", user] if user else []
        return control("exec", "--state", str(self.state), *become, "--", *argv)

    def said(self, *argv: str, user: str | None = None) -> str:
        """What a command inside wrote; the test fails if the command does."""
        done = self.exec(argv, user)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def stop(self, daemon: str) -> None:
        """End one daemon until `start`."""
        done = control("stop", "--state", str(self.state), daemon)
        assert done.returncode == 0, done.stderr

    def start(self, daemon: str) -> None:
        done = control("start", "--state", str(self.state), daemon)
        assert done.returncode == 0, done.stderr

    def run_again(self, job: str) -> None:
        """A requeued job would wait two minutes.

        In the second in which its first run ended Slurm would take the second run's credential for the first's, which
        it has withdrawn ("Job credential revoked"), and end it with exit code 1.
        """
        ended_by = int(time.time())
        until(lambda: int(time.time()) > ended_by)
        self.said("scontrol", "update", f"jobid={job}", "starttime=now")

    def held(self, account: str) -> int:
        """GPU-seconds of an account."""
        return _gpu_seconds(self.runs(account))

    def held_by(self, job_id: str) -> int:
        """GPU-seconds of one job, once a window of time shows it.

        To --jobs it would be shown seconds earlier: slurmdbd learns a new job's eligible time later than its start, and
        even than its end, and no window holds it before.
        """
        return _gpu_seconds(one for job, *one in self._holdings() if job == job_id)

    def runs(self, account: str) -> list[list[int]]:
        """Start, end and GPUs of each ended record of an account, in order."""
        return sorted(one for _job, *one in self._holdings(f"--accounts={account}"))

    def held_by_day(self, account: str) -> dict[date, int]:
        """GPU-seconds of an account on each UTC day, counted off second by second."""
        days: Counter[date] = Counter()
        for start, end, gpus in self.runs(account):
            for second in range(start, end) if gpus else ():
                days[datetime.fromtimestamp(second, UTC).date()] += gpus
        return dict(days)

    def _holdings(self, *which: str) -> Iterator[tuple[str, int, int, int]]:
        """Job, start, end and GPUs of all ended records: what sacct says, read in the plainest way."""
        words = ("sacct", "--allusers", "--allocations", "--duplicates", "--noheader", "--parsable2")
        said = self.said(
            *("env", "TZ=UTC", "SLURM_TIME_FORMAT=%s", *words, "--starttime=now-1day", *which),
            "--format=JobIDRaw,Start,End,AllocTRES",
        )
        for job, start, end, tres in (line.split("|") for line in said.splitlines()):
            if start.isdigit() and end.isdigit():
                yield job, int(start), int(end), _gpus(tres)


def _gpu_seconds(runs: Iterable[Sequence[int]]) -> int:
    """Σ GPUs × (End − Start)."""
    return sum(gpus * (end - start) for start, end, gpus in runs)


def _gpus(tres: str) -> int:
    return next(
        (int(part.removeprefix("gres/gpu=")) for part in tres.split(",") if part.startswith("gres/gpu=")), 0
    )


def control(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=600, check=False)


def until(condition: Callable[[], T], seconds: float = 30) -> T:
    """The first true answer of a condition; the test fails if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return answer
