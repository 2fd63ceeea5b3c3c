"""`./dev bench submit`, run by pytest on the one-machine Slurm. Not collected by the usual runs.

All GPUs are taken by one job of the bench's own, so that nothing starts while it is measured.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
from django.conf import settings as live_settings
from django.db import connection, transaction

from accounting.models import Hold
from jobs import actions, dispatch
from jobs.credentials import Credential, load_ca_key, mint
from jobs.models import ClusterAccount, Job, JobFile, Upload
from jobs.sites import Site, read_clusters
from jobs.ssh import Session, connect
from jobs.states import State
from portal.models import User
from tests.cluster.conftest import on_cluster, slurm_cluster  # noqa: F401  # fixtures
from tests.cluster.one_machine import SlurmCluster, until
from tests.cluster.world import World, make_world
from tests.running import await_ready, environment, python_module, running, says

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

JOBS = 500
MEMBERS = 20
ONE_BY_ONE = 60  # to one exec each: more would only take longer
CLICKS = 40
PAUSE = 0.5  # between two clicks: the portal is idle
SCRIPT = "#!/bin/bash\nsleep 1\n"
LEAST_RATE, MOST_LATENCY = 0.7, 3.0


@pytest.fixture
def world(slurm_cluster: SlurmCluster, on_cluster: None) -> Iterator[World]:  # noqa: F811
    redis.Redis.from_url(live_settings.REDIS_URL).flushdb()
    world = make_world(slurm_cluster, gpu_hours=1_000_000)
    blocker = world.past_the_portal(600, "sleep 36000", gpus=8)
    others = [world.past_the_portal(600, "sleep 36000", gpus=8) for _node in range(3)]
    for each in (blocker, *others):
        until(lambda each=each: world.in_queue(each)[0] == "RUNNING")  # type: ignore[misc]
    yield world
    for account in ClusterAccount.objects.filter(cluster=world.cluster):
        world.slurm.said("scancel", f"--user={account.username}")


def waiting(world: World, people: Sequence[User], count: int) -> None:
    """So many jobs in the database, each with its hold and its script, in turn of these people."""
    scripts = {person.pk: world.upload("run.sh", SCRIPT.encode(), by=person) for person in people}
    jobs = Job.objects.bulk_create(
        Job(
            owner=people[number % len(people)],
            project=world.project,
            allocation=world.allocation,
            cluster=world.cluster,
            partition=world.partition,
            name=f"job {number}",
            gpus=1,
            time_limit_minutes=5,
        )
        for number in range(count)
    )
    Hold.objects.bulk_create(
        Hold(allocation=world.allocation, gpu_seconds=300, reference=job.token, person=job.owner)
        for job in jobs
    )
    JobFile.objects.bulk_create(
        JobFile(
            job=job,
            kind=JobFile.Kind.SCRIPT,
            path="run.sh",
            size=scripts[job.owner_id].size,
            sha256=scripts[job.owner_id].sha256,
            upload=scripts[job.owner_id],
        )
        for job in jobs
    )


def drained(world: World) -> float:
    """Jobs per second, from waiting in the database to an id of Slurm's."""
    count = Job.objects.filter(state=State.NEW).count()
    began = time.perf_counter()
    dispatch.send_waiting(world.cluster.pk)
    seconds = time.perf_counter() - began
    ids = set(Job.objects.filter(state=State.QUEUED).values_list("scheduler_id", flat=True))
    assert Job.objects.exclude(state=State.QUEUED).count() == 0
    assert len(ids) == Job.objects.count()
    return count / seconds


# ── What it is compared with ─────────────────────────────────────────────────


@contextmanager
def shell(world: World) -> Iterator[Session]:
    """A kept connection on which a member may run anything."""
    with let_in(world) as credential:
        session = connect(_site(world).login_nodes[0], credential)
    with session:
        yield session


@contextmanager
def let_in(world: World) -> Iterator[Credential]:
    """A member may run anything, whose logins begin meanwhile: the bench lets in a principal of its own, without the
    gateway."""
    site, username = _site(world), world.account.username
    principals = world.slurm.root / "principals" / username
    before = world.slurm.said("cat", str(principals))
    world.slurm.said("sh", "-c", f"echo 'restrict portal-exec:{username}' > {principals}")
    try:
        yield mint(load_ca_key(site.ca_key_file), username, datetime.now(UTC))
    finally:
        world.slurm.said("sh", "-c", f"cat > {principals} <<'END'\n{before}\nEND")


@contextmanager
def ssh(world: World, folder: Path) -> Iterator[list[str]]:
    """The words before a command that runs it by OpenSSH's own `ssh`, on a connection that is kept (ControlMaster)."""
    node, key, known, socket = (
        _site(world).login_nodes[0],
        folder / "key",
        folder / "known",
        folder / "socket",
    )
    known.write_text(f"[{node.host}]:{node.port} {node.host_key}\n")
    options = {
        "IdentityFile": key,
        "CertificateFile": folder / "certificate",
        "UserKnownHostsFile": known,
        "ControlPath": socket,
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
    }
    words = ["ssh", "-F", "none", "-p", str(node.port), "-l", world.account.username]
    words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    with let_in(world) as credential:
        key.touch(0o600)
        key.write_text(credential.private_key)
        (folder / "certificate").write_text(credential.certificate)
        subprocess.run([*words, "-M", "-N", "-f", node.host], check=True)
    try:
        yield [*words, node.host]
    finally:
        subprocess.run([*words, "-O", "exit", node.host], check=True, capture_output=True)


def _site(world: World) -> Site:
    (site,) = read_clusters(world.slurm.state / "clusters.toml").values()
    return site


def sbatch(world: World) -> str:
    """As the gateway calls it, for a plain shell."""
    gateway = json.loads(world.slurm.said("cat", str(world.slurm.root / "libexec" / "gateway.json")))
    options = (
        f"--account={world.project.account} --partition=a100 --nodes=1 --ntasks-per-node=1 --cpus-per-task=1"
        " --mem=100M --gres=gpu:a100:1 --time=5 --requeue --parsable --output=/dev/null --export=NONE"
    )
    return f"SLURM_CONF={gateway['slurm_conf']} sbatch {options} {world.slurm.root}/libexec/job.sh"


def by_a_loop(session: Session, command: str, count: int) -> float:
    """Jobs per second of a shell loop on the login node."""
    began = time.perf_counter()
    done = session.run(f"for n in $(seq {count}); do {command}; done", deadline=200)
    seconds = time.perf_counter() - began
    assert len(done.stdout.split()) == count, done
    return count / seconds


def one_by_one(session: Session, command: str, count: int) -> list[float]:
    """Seconds of each, on one kept connection."""
    return [_timed(session, command) for _ in range(count)]


def _timed(session: Session, command: str) -> float:
    began = time.perf_counter()
    done = session.run(command)
    seconds = time.perf_counter() - began
    assert done.exit == 0, done
    return seconds


def _timed_by_ssh(words: Sequence[str], command: str) -> float:
    began = time.perf_counter()
    subprocess.run([*words, command], check=True, capture_output=True)
    return time.perf_counter() - began


# ── The measurements ─────────────────────────────────────────────────────────


def test_many_waiting_jobs(world: World) -> None:
    people = [world.another_member(f"Member {number}") for number in range(MEMBERS)]
    command = sbatch(world)
    with shell(world) as session:
        by_a_loop(session, command, 20)
        loop = by_a_loop(session, command, JOBS)
        execs = 1 / statistics.mean(one_by_one(session, command, ONE_BY_ONE))
        waiting(world, [world.mei], JOBS)
        by_one = drained(world)
        loop = statistics.mean([loop, by_a_loop(session, command, JOBS)])
    waiting(world, people, JOBS)
    by_many = drained(world)
    print()
    told("sbatch in a shell loop on the login node", loop, loop)
    told("one SSH exec for each, connection kept", execs, loop)
    told(f"portal, {JOBS} of one member", by_one, loop)
    told(f"portal, {JOBS} of {MEMBERS} members", by_many, loop)
    assert min(by_one, by_many) >= LEAST_RATE * loop


def told(what: str, rate: float, loop: float) -> None:
    print(f"{what:<44} {rate:>7.1f} jobs/s {rate / loop:>6.2f} of the loop", flush=True)


def test_from_click_to_id(world: World, tmp_path: Path) -> None:
    command = sbatch(world)
    scripts = [world.upload("run.sh", SCRIPT.encode()) for _ in range(CLICKS + 3)]
    log = tmp_path / "worker.log"
    words = ("celery", "-A", "portal", "worker", "--concurrency=1", "--loglevel=INFO", "-Q", "files")
    with (
        ssh(world, tmp_path) as by_ssh,
        shell(world) as session,
        running(python_module(*words), environment(), log) as worker,
    ):
        await_ready(worker, log, says(log, " ready."))
        for script in scripts[:3]:
            click(world, script)  # the first one logs in
        clicks, plain, without_client = [], [], []
        for script in scripts[3:]:
            time.sleep(PAUSE)
            clicks.append(click(world, script))
            plain.append(_timed_by_ssh(by_ssh, command))
            without_client.append(_timed(session, command))
    print()
    usual, slow = percentiles(plain)
    print(
        f"{'ssh login-node sbatch, connection kept':<44} p50 {usual * 1000:6.1f} ms, p95 {slow * 1000:6.1f} ms"
    )
    bare, _slow = percentiles(without_client)
    print(f"{'  the same without a client to start':<44} p50 {bare * 1000:6.1f} ms")
    p50, p95 = percentiles([clicked.seconds for clicked in clicks])
    print(f"{'portal, from click to id':<44} p50 {p50 * 1000:6.1f} ms, p95 {p95 * 1000:6.1f} ms")
    for name, part in zip(
        ("until it stands", "until it is claimed", "until it has its id"),
        zip(*map(parts, clicks), strict=True),
        strict=True,
    ):
        print(f"{'  of that ' + name:<44} p50 {statistics.median(part) * 1000:6.1f} ms")
    print(f"{'ratio to ssh':<44} p50 {p50 / usual:6.2f},    p95 {p95 / slow:6.2f}", flush=True)
    print(f"{'  to the same without a client':<44} p50 {p50 / bare:6.2f}", flush=True)
    assert p50 <= MOST_LATENCY * usual


class Clicked(NamedTuple):
    seconds: float
    began: datetime
    committed: datetime
    job: int


def click(world: World, script: Upload) -> Clicked:
    """From the call that a page makes to the id in the database, as another connection sees it."""
    at, began = datetime.now(UTC), time.perf_counter()
    with transaction.atomic():
        job = actions.create_and_submit(
            by=world.mei,
            project=world.project,
            partition=world.partition,
            name="a click",
            gpus=1,
            time_limit_minutes=5,
            script=script,
            inputs=[],
        )
    committed, deadline = datetime.now(UTC), time.monotonic() + 30
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT state FROM jobs_job WHERE id = %s", [job.pk])
            if cursor.fetchone()[0] == State.QUEUED:
                return Clicked(time.perf_counter() - began, at, committed, job.pk)
            time.sleep(0.001)
    raise AssertionError(
        f"not sent within 30 s: {Job.objects.values('state', 'reason', 'message').get(pk=job.pk)}"
    )


def parts(clicked: Clicked) -> tuple[float, float, float]:
    """Seconds until it stood in the database, until a worker had claimed it, and until it had its id."""
    job = Job.objects.get(pk=clicked.job)
    assert job.claimed_at and job.queued_at
    return (
        (clicked.committed - clicked.began).total_seconds(),
        (job.claimed_at - clicked.committed).total_seconds(),
        (job.queued_at - job.claimed_at).total_seconds(),
    )


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p95."""
    ordered = sorted(seconds)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
