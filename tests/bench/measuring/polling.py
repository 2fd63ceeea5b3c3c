"""`./dev bench poll`, run by pytest, which makes the world and its database. Not collected by the usual runs.

The cluster's answers are put together here as Slurm writes them, and given where the wire would give them: what is
measured is all of the portal's own work, from the text of the answer to the rows of the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import connection, reset_queries
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounting.models import Allocation, Hold, Partition
from jobs import sync
from jobs.logins import Login
from jobs.models import ClusterAccount, Job
from jobs.schedulers import Answer, Call
from jobs.states import State
from portal.models import User
from tests.bench.ingest import of_database
from tests.factories import ClusterAccountFactory

SIZES = (10, 1_000, 10_000)
MOST_SECONDS = 1.0  # of the portal's own, at the largest
CYCLES = 7  # the middle one counts
SECONDS = "%Y-%m-%dT%H:%M:%S"
CLUSTERS = """
[clusters.firefly]
scheduler = "slurm"
username_prefix = "fp-"
collector = "fp-collector"
admin = "fp-admin"
ca_key_file = "/nowhere/ca"
[[clusters.firefly.login_nodes]]
host = "login1"
host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH7qQC0cFzhFkImITI4pMyAUjzHXqOBFkkvRVy+utGdF"
"""


class Figures(NamedTuple):
    seconds: float  # by the clock
    busy: float  # seconds of a core, PostgreSQL's included
    queries: int
    calls: int


class Slurm:
    """What it would say of these jobs: every third runs; the others wait, for reasons and starts that may change."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.calls = 0
        self.seconds = self.busy = 0.0  # that it took to put the answers together: not the portal's
        self.shift = 0  # seconds by which all starts have moved

    def ask(self, _login: Login, calls: Sequence[Call], seconds: int = 0) -> tuple[list[Answer], datetime]:
        began, before = time.perf_counter(), time.process_time()
        self.calls += 1
        said: dict[str, Callable[[Call], str]] = {
            "sacct": self.sacct,
            "squeue": self.squeue,
            "sinfo": lambda _call: "",
        }
        answers = [Answer(0, said[call.verb](call), "") for call in calls]
        self.seconds += time.perf_counter() - began
        self.busy += time.process_time() - before
        return answers, datetime.now(UTC).replace(microsecond=0)

    def squeue(self, call: Call) -> str:
        delimiter = _delimiter(call)
        return "".join(f"{delimiter.join([*self.entry(job), ''])}\n" for job in self.jobs)

    def entry(self, job: Job) -> tuple[str, ...]:
        number, project = job.scheduler_id, job.project.account
        common = (number, number, "fp-mei", project, "a100")
        submitted = f"{job.created_at:{SECONDS}}"
        if int(number) % 3 == 0:
            start = f"{job.created_at + timedelta(minutes=1):{SECONDS}}"
            end = f"{job.created_at + timedelta(days=1):{SECONDS}}"
            return (*common, "RUNNING", "None", submitted, start, end, "gpu01", job.token)
        start = f"{job.created_at + timedelta(days=1, seconds=self.shift):{SECONDS}}"
        reason = "Priority" if self.shift % 2 else "Resources"
        return (*common, "PENDING", reason, submitted, start, "N/A", "", job.token)

    def sacct(self, call: Call) -> str:
        """Records without an end of all that run."""
        delimiter = _delimiter(call)
        (fields,) = (arg.partition("=")[2].split(",") for arg in call.args if arg.startswith("--format="))
        running = (self.record(job) for job in self.jobs if int(job.scheduler_id) % 3 == 0)
        return "".join(
            f"{delimiter.join([*map(run.get, fields, [''] * len(fields)), ''])}\n" for run in running
        )

    def record(self, job: Job) -> dict[str, str]:
        start = f"{job.created_at + timedelta(minutes=1):{SECONDS}}"
        return {
            "Cluster": "firefly",
            "DBIndex": job.scheduler_id,
            "JobIDRaw": job.scheduler_id,
            "JobID": job.scheduler_id,
            "Account": job.project.account,
            "User": "fp-mei",
            "Partition": "a100",
            "QOS": "normal",
            "State": "RUNNING",
            "Submit": f"{job.created_at:{SECONDS}}",
            "Eligible": f"{job.created_at:{SECONDS}}",
            "Start": start,
            "End": "Unknown",
            "ElapsedRaw": "3600",
            "Suspended": "00:00:00",
            "TimelimitRaw": "1440",
            "ExitCode": "0:0",
            "AllocTRES": "billing=1,cpu=8,gres/gpu:a100=1,gres/gpu=1,mem=64G,node=1",
            "ReqTRES": "billing=1,cpu=8,gres/gpu:a100=1,gres/gpu=1,mem=64G,node=1",
            "NodeList": "gpu01",
            "NNodes": "1",
        }


def _delimiter(call: Call) -> str:
    said = next((arg for arg in call.args if "@" in arg), "@@")
    return f"@{said.split('@')[1]}@"


@pytest.fixture
def slurm(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    settings.CLUSTERS_FILE = tmp_path / "clusters.toml"
    settings.CLUSTERS_FILE.write_text(CLUSTERS)
    slurm = Slurm(())
    monkeypatch.setattr(Login, "ask", lambda login, calls, seconds=0: slurm.ask(login, calls, seconds))
    monkeypatch.setattr("jobs.probing.is_measured", lambda _cluster: True)
    return slurm


def live(count: int, owner: User, allocation: Allocation, partition: Partition) -> list[Job]:
    """So many jobs on the cluster, in the database, with their holds."""
    now = timezone.now() - timedelta(hours=1)
    Job.objects.bulk_create(
        Job(
            owner=owner,
            project=allocation.project,
            allocation=allocation,
            cluster=partition.cluster,
            partition=partition,
            name="Fringe fit",
            gpus=1,
            time_limit_minutes=24 * 60,
            state=State.QUEUED,
            scheduler_id=str(number),
            created_at=now,
            queued_at=now,
        )
        for number in range(1, count + 1)
    )
    jobs = list(Job.objects.select_related("project").order_by("pk"))
    Hold.objects.bulk_create(
        Hold(allocation=allocation, gpu_seconds=86_400, reference=job.token, person=owner) for job in jobs
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return jobs


@contextmanager
def counted() -> Iterator[list[str]]:
    queries: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        queries.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield queries
    reset_queries()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", SIZES)
def test_a_cycle(count: int, slurm: Slurm, mei: User, allocation: Allocation, a100: Partition) -> None:
    ClusterAccountFactory.create(
        user=mei, cluster=a100.cluster, username="fp-mei", state=ClusterAccount.State.ACTIVE
    )
    slurm.jobs = live(count, mei, allocation, a100)
    first = cycle(slurm, a100)  # a third of them has started
    assert Job.objects.filter(state=State.RUNNING).count() == count // 3
    told("first look", count, [first])
    told("all as before", count, [cycle(slurm, a100) for _ in range(CYCLES)])
    moved = []
    for _ in range(CYCLES):
        slurm.shift += 61
        moved.append(cycle(slurm, a100))
    slowest = told("all moved", count, moved)
    assert slowest.busy < MOST_SECONDS


def cycle(slurm: Slurm, partition: Partition) -> Figures:
    slurm.calls, slurm.busy, slurm.seconds = 0, 0.0, 0.0
    Job.objects.update(
        confirmed_at=timezone.now() - timedelta(seconds=20)
    )  # as long ago as that: all are written
    began, before = time.perf_counter(), busy()
    with counted() as queries:
        sync.poll(partition.cluster_id)
    after, ended = busy(), time.perf_counter()
    return Figures(ended - began - slurm.seconds, after - before - slurm.busy, len(queries), slurm.calls)


def busy() -> float:
    """Seconds for which we and our PostgreSQL have kept a core busy so far."""
    return time.process_time() + of_database()


def told(what: str, count: int, cycles: Sequence[Figures]) -> Figures:
    """The middle one, by what it kept busy: the clock's time is also that of whatever else the machine does."""
    one = sorted(cycles, key=lambda figures: figures.busy)[len(cycles) // 2]
    print(
        f"{what:<14} {count:>7,} live jobs {one.calls:>3} remote call {one.queries:>4} queries"
        f" {one.busy * 1000:>8.1f} ms of a core {one.seconds * 1000:>8.1f} ms",
        flush=True,
    )
    return one
