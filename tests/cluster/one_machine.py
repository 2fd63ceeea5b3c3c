"""The one-machine Slurm of docker/slurm, as the tests see it."""

import subprocess
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

CHECKOUT = Path(__file__).resolve().parents[2]
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

    def held(self, account: str) -> int:
        """GPU-seconds of an account."""
        return self._held(f"--accounts={account}")

    def held_by(self, job_id: str) -> int:
        """GPU-seconds of one job."""
        return self._held(f"--jobs={job_id}")

    def _held(self, which: str) -> int:
        """Σ GPUs × (End − Start) over all ended records: what sacct says, read in the plainest way."""
        fields = "Start,End,AllocTRES"
        said = self.said(
            *(
                "env",
                "TZ=UTC",
                "SLURM_TIME_FORMAT=%s",
                "sacct",
                "--allusers",
                "--allocations",
                "--duplicates",
            ),
            *(
                "--noheader",
                "--parsable2",
                "--starttime=now-1day",
                which,
                f"--format={fields}",
            ),
        )
        rows = [line.split("|") for line in said.splitlines()]
        return sum(
            _gpus(tres) * (int(end) - int(start))
            for start, end, tres in rows
            if start.isdigit() and end.isdigit()
        )


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
