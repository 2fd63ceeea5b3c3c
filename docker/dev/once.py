"""`./dev demo --once`: the main job, by itself, and whether three books agree about it."""

import json
import re
import subprocess
from dataclasses import dataclass

from dev import cluster, places, say
from dev.say import Stop
from dev.services import Crew

MAIN_JOB = places.ROOT / "docker" / "demo" / "main_job.py"
RESULTS = places.DEMO / "main-job"
GPUS = re.compile(r"(?:^|,)gres/gpu=(\d+)")


@dataclass(frozen=True)
class MainJob:
    """What main_job.py found out through the web application about its job, which succeeded."""

    slurm_id: str
    charged_gpu_seconds: int  # by the ledger
    log: str


def do_main_job(crew: Crew, env: dict[str, str], email: str, password: str) -> int:
    """0 if ledger and scheduler agree to the second about a job that succeeded."""
    say.heading("The main job, as the lab member, through the web application")
    member = env | {"MEMBER_EMAIL": email, "MEMBER_PASSWORD": password}
    status = crew.run([places.program("python"), str(MAIN_JOB), env["SITE_URL"], str(RESULTS)], member)
    if status != 0:
        raise Stop("The main job did not come through; what it said is above.")
    job = MainJob(**json.loads((RESULTS / "job.json").read_text()))
    used = gpu_seconds(job.slurm_id)
    agree = used == job.charged_gpu_seconds
    print("\nThe end of the job's log:")
    print("\n".join(f"    {line}" for line in job.log.splitlines()[-8:]))
    print(f"\nCharged in the ledger:   {job.charged_gpu_seconds:>6} GPU-seconds")
    print(f"Slurm's own accounting:  {used:>6} GPU-seconds (sacct, job {job.slurm_id}, GPUs × (End − Start))")
    print("They agree." if agree else "They do NOT agree.", flush=True)
    return 0 if agree and used > 0 else 1


def gpu_seconds(slurm_id: str) -> int:
    """What the scheduler's accounting says of all runs of a job: Σ GPUs × (End − Start)."""
    if not re.fullmatch(r"\d+", slurm_id):
        raise Stop(f"{slurm_id!r} is not a job of Slurm.")
    asked = subprocess.run(
        cluster.command(
            *(
                "exec",
                "--",
                "env",
                "SLURM_TIME_FORMAT=%s",
                "sacct",
                "--allusers",
                "--allocations",
                "--duplicates",
            ),
            *(
                "--noconvert",
                "--noheader",
                "--parsable2",
                "--format=Start,End,AllocTRES",
                f"--jobs={slurm_id}",
            ),
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0 or not asked.stdout.strip():
        raise Stop(
            f"sacct did not answer about job {slurm_id}: {asked.stderr.strip() or 'it knows no such job'}"
        )
    return sum(_of_run(*line.split("|")) for line in asked.stdout.splitlines())


def _of_run(start: str, end: str, tres: str) -> int:
    gpus = GPUS.search(tres)
    if gpus is None or not (start.isdigit() and end.isdigit()):
        return 0  # it never ran
    return int(gpus[1]) * (int(end) - int(start))
