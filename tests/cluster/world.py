"""A lab on the real cluster, made anew for each test: its own accounts and people, so that tests don't meet in Slurm."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounting.models import Allocation, Cluster, Partition
from jobs import actions, dispatch, provisioning, sync, uploads
from jobs.identity import association_for
from jobs.models import ClusterAccount, Job, Upload
from portal.models import Project, Role, User
from tests.cluster.one_machine import SlurmCluster, until
from tests.factories import (
    AllocationFactory,
    ClusterFactory,
    InstitutionFactory,
    LabFactory,
    MembershipFactory,
    PartitionFactory,
    ProjectFactory,
    UserFactory,
)


@dataclass(frozen=True)
class World:
    """One lab with a member who can run jobs, and GPU-hours for its project: 1,000, if the test doesn't say otherwise."""

    slurm: SlurmCluster
    cluster: Cluster
    partition: Partition
    project: Project
    allocation: Allocation
    mei: User
    account: ClusterAccount

    def another_member(self, name: str) -> User:
        """Of the lab, who can run jobs on the project, too."""
        person = UserFactory.create(name=name)
        MembershipFactory.create(user=person, role=Role.MEMBER, lab=self.project.lab)
        account = account_asked_for(person, self.cluster, self.project)
        until(lambda: provisioning.provision(account.pk), 60)
        return person

    def upload(self, path: str, content: bytes, *, by: User | None = None) -> Upload:
        upload = uploads.begin(by=by or self.mei, path=path, size=len(content))
        rest = memoryview(content)

        def read(size: int) -> bytes:
            nonlocal rest
            piece, rest = bytes(rest[:size]), rest[size:]
            return piece

        if content:
            uploads.append(upload, at=0, length=len(content), read=read)
        upload.refresh_from_db()
        return upload

    def submit(self, script: str, *, gpus: int = 1, minutes: int = 5, **inputs: bytes) -> Job:
        """Through the same action as the page: hold, job and files are in the database; nothing is sent yet."""
        return self._made(script, gpus, minutes, inputs, tasks=1, at_once=None)

    def submit_sweep(
        self, script: str, *, tasks: int, at_once: int | None = None, gpus: int = 1, minutes: int = 5
    ) -> Job:
        return self._made(script, gpus, minutes, {}, tasks=tasks, at_once=at_once)

    def _made(
        self,
        script: str,
        gpus: int,
        minutes: int,
        inputs: dict[str, bytes],
        *,
        tasks: int,
        at_once: int | None,
    ) -> Job:
        return actions.create_and_submit(
            by=self.mei,
            project=self.project,
            partition=self.partition,
            name="a test's job",
            gpus=gpus,
            time_limit_minutes=minutes,
            task_count=tasks,
            tasks_at_once=at_once,
            script=self.upload("run.sh", script.encode()),
            inputs=[self.upload(path, content) for path, content in inputs.items()],
        )

    def send(self) -> None:
        dispatch.send_waiting(self.cluster.pk)

    def poll_until(self, job: Job, reached: Callable[[Job], bool], seconds: float = 60) -> Job:
        """Ask the cluster, cycle after cycle, until `job` is as it should be."""

        def look() -> bool:
            sync.poll(self.cluster.pk)
            job.refresh_from_db()
            return reached(job)

        until(look, seconds)
        return job

    def past_the_portal(
        self, minutes: int, script: str = "sleep 300", *, gpus: int = 1, qos: str = ""
    ) -> str:
        """A plain sbatch of the member's own, on the project's account; the scheduler's id."""
        return self.slurm.said(
            *("sbatch", "--parsable", f"--account={self.project.account}", "--partition=a100", "--mem=100M"),
            *(f"--gres=gpu:{gpus}", f"--time={minutes}", "--output=/dev/null", "--chdir=/tmp"),
            *((f"--qos={qos}",) if qos else ()),
            f"--wrap={script}",
            user=self.account.username,
        )

    def in_queue(self, scheduler_id: str) -> tuple[str, str, str]:
        """State, reason and QOS of a job that the queue still knows."""
        said = self.slurm.said("squeue", "-h", "-t", "all", "-j", scheduler_id, "-o", "%T %r %q")
        state, reason, qos = said.split()
        return state, reason, qos

    def in_slurm(self, job: Job) -> list[str]:
        """The scheduler's ids of all jobs with this token, ever."""
        said = self.slurm.said(
            "sacct", "-a", "-X", "-n", "-P", "-S", "now-1day", f"--name={job.token}", "-o", "JobIDRaw"
        )
        return sorted(set(said.split()))


def account_asked_for(person: User, cluster: Cluster, project: Project) -> ClusterAccount:
    """As a submission does it: in a transaction of its own."""
    with transaction.atomic():
        return association_for(person, cluster, project).account


def make_world(slurm: SlurmCluster, gpu_hours: int = 1000, *, above: str = "") -> World:
    """`above`: the mark of an institution and a lab that the scheduler knows from an earlier test; that is quicker."""
    mark = secrets.token_hex(3)
    above = above or mark
    institution = InstitutionFactory.create(account=f"i{above}", slug=f"i{above}")
    lab = LabFactory.create(institution=institution, account=f"l{above}", slug=f"l{above}")
    project = ProjectFactory.create(lab=lab, account=f"p{mark}", slug=f"p{mark}")
    cluster = Cluster.objects.filter(name="firefly").first() or ClusterFactory.create(name="firefly")
    partition = cluster.partitions.first() or PartitionFactory.create(
        cluster=cluster, name="a100", cpus_per_gpu=1, memory_per_gpu_mib=100
    )
    today = timezone.now().date()
    allocation = AllocationFactory.create(
        project=project,
        cluster=cluster,
        start=today - timedelta(days=1),
        end=today + timedelta(days=30),
        gpu_hours=gpu_hours,
    )
    mei = UserFactory.create(name="Mei Lin", email=f"mei-{mark}@example.org")
    MembershipFactory.create(user=mei, role=Role.MEMBER, lab=lab)
    account = account_asked_for(mei, cluster, project)
    until(lambda: provisioning.provision(account.pk), 60)
    account.refresh_from_db()
    return World(slurm, cluster, partition, project, allocation, mei, account)
