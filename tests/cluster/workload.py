"""Jobs of every kind, sent around the portal as a member would on the login node."""

from __future__ import annotations

import time

from tests.cluster.one_machine import until
from tests.cluster.world import World

TWO = "--gres=gpu:a100:2"


class Workload:
    """What one member runs on the project's account."""

    def __init__(self, world: World) -> None:
        self.slurm = world.slurm
        self.user = world.account.username
        self.account = world.project.account

    def sbatch(self, *options: str, seconds: int = 5) -> str:
        job = self.slurm.said(*self._submission(*options, seconds=seconds), user=self.user)
        return job.partition(";")[0]

    def try_sbatch(self, *options: str, seconds: int = 5) -> str:
        """The same while the scheduler may be away; "" if there was no answer."""
        said = self.slurm.exec(self._submission(*options, seconds=seconds), self.user)
        return said.stdout.strip().partition(";")[0] if said.returncode == 0 else ""

    def _submission(self, *options: str, seconds: int) -> list[str]:
        return [
            *("sbatch", "--parsable", f"--account={self.account}", "--output=/dev/null", *options),
            f"--wrap=sleep {seconds}",
        ]

    def state(self, job: str) -> str:
        """What the queue says of a job; "" if the queue does not answer, or does not know it."""
        words = ("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")
        return self.slurm.exec(words).stdout.strip().partition("\n")[0]

    def queued(self, state: str) -> list[str]:
        """The ids of its jobs in that state, also of those that went through the portal."""
        words = ("squeue", "--noheader", "--array", f"--states={state}", f"--account={self.account}")
        return self.slurm.exec([*words, "--format=%A"]).stdout.split()

    def running(self, job: str) -> str:
        until(lambda: self.state(job) == "RUNNING")
        return job

    def start(self) -> None:
        """One of each kind; all of it is under way when this returns."""
        self.sbatch(TWO)
        self.sbatch("--gres=gpu:3")  # untyped
        self.sbatch("--array=1-3", "--gres=gpu:a100:1")
        self.sbatch("--exclusive", "--nodes=1", "--gres=gpu:a100:1")
        self.sbatch("--gres=gpu:a100:1", ":", TWO)
        self.sbatch(TWO, "--job-name=a|b\nfirefly|999|1|1|other|x|a100|gres/gpu=64")
        self.sbatch("--nodes=2", "--gres=gpu:a100:4")
        self.sbatch()  # no GPU at all
        cancelled = self.running(self.sbatch(TWO, seconds=300))
        suspended = self.running(self.sbatch(TWO, seconds=12))
        requeued = self.running(self.sbatch(TWO, "--requeue", seconds=8))
        self.slurm.said("scontrol", "requeue", requeued)
        self.slurm.said("scontrol", "suspend", suspended)
        never_started = self.sbatch("--begin=now+1hour", TWO)
        self.slurm.said("scancel", cancelled, never_started)
        until(lambda: self.state(suspended) == "SUSPENDED")
        held = time.monotonic()
        until(lambda: time.monotonic() - held > 3)  # suspended seconds are what this job is about
        self.slurm.said("scontrol", "resume", suspended)
        until(lambda: self.state(requeued) == "PENDING")
        self.slurm.run_again(requeued)

    def over(self) -> bool:
        """Surely nothing of it waits or runs any more."""
        queue = self.slurm.exec(("squeue", "--noheader", f"--account={self.account}"))
        return queue.returncode == 0 and not queue.stdout.strip()
