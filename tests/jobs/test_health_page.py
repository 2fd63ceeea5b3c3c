"""The staff's page of the road to the clusters: it names the broken part, and works while Redis or the worker is dead."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounting.models import Cluster, Partition
from jobs import clock, health, hops, tasks
from jobs.logins import GatewayError
from jobs.models import ClusterHealth
from jobs.schedulers import AnswerError
from jobs.signs import LoginNodeSign, Pulse
from jobs.sites import ConfigError
from jobs.spec import ClusterError
from jobs.ssh import HostKeyMismatch, Unreachable
from portal.models import User
from tests.factories import JobFactory
from tests.jobs.login_node import await_port, free_port
from tests.pages import browser, words

URL = "/jobs/health/"


@pytest.fixture
def redis(settings: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real one. In tests that don't ask for it, nobody listens."""
    program, port = shutil.which("redis-server"), free_port()
    assert program, "redis-server is missing"
    server = subprocess.Popen(
        [program, "--port", str(port), "--save", "", "--dir", tmp_path], stdout=subprocess.DEVNULL
    )
    settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
    try:
        await_port(port)
        yield server
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def all_at_work(db: None) -> None:
    for part in Pulse.Part:
        Pulse.note(part)


def tones(cluster: Cluster | None = None) -> dict[str, str]:
    road = next(road for road in hops.roads() if road.cluster == cluster)
    return {hop.key: hop.tone for hop in road.hops}


def test_with_everything_well_it_says_so(
    redis: object, all_at_work: None, sam: User, firefly: Cluster
) -> None:
    health.answered(firefly)
    assert set(tones().values()) == set(tones(firefly).values()) == {"ok"}
    page = words(browser(sam).get(URL))
    assert "Nothing is broken." in page
    assert all(
        word in page for word in ("Redis", "Clock (beat)", "Worker for files", "slurmctld", "slurmdbd")
    )


def test_a_dead_redis_is_named_and_who_it_rings_is_not_accused(
    no_redis: None, all_at_work: None, sam: User, firefly: Cluster
) -> None:
    Pulse.objects.exclude(part="beat").update(seen_at=timezone.now() - timedelta(minutes=9))
    found = tones()
    assert (found["redis"], found["beat"], found["quick"]) == ("bad", "ok", "wait")
    page = words(browser(sam).get(URL))
    assert "Redis: does not answer. Begin there" in page
    assert "Start Redis." in page
    assert "9 min ago" in page


def test_a_redis_that_hangs_holds_no_page_up(redis: subprocess.Popen[bytes], all_at_work: None) -> None:
    redis.send_signal(19)  # SIGSTOP: it accepts, and says nothing
    began = timezone.now()
    assert tones()["redis"] == "bad"
    assert timezone.now() - began < timedelta(seconds=5)


def test_a_dead_clock_is_told_apart_from_a_dead_worker(redis: object, all_at_work: None) -> None:
    Pulse.objects.all().update(seen_at=timezone.now() - timedelta(minutes=9))
    assert (tones()["beat"], tones()["quick"]) == ("bad", "wait")
    Pulse.note("beat")
    assert (tones()["beat"], tones()["quick"], tones()["files"]) == ("ok", "bad", "bad")
    tasks.note_worker("files")
    assert tones()["files"] == "ok"


def test_a_full_disk_of_uploads_is_named(monkeypatch: pytest.MonkeyPatch, all_at_work: None) -> None:
    for free, tone in ((1 << 20, "bad"), (5 << 30, "warn"), (1 << 40, "ok")):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda _path, free=free: shutil._ntuple_diskusage(1, 1, free)
        )
        assert tones()["uploads"] == tone


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (ConfigError("No such file."), "settings"),
        (Unreachable("Nobody there."), "ssh"),
        (HostKeyMismatch("Another one."), "ssh"),
        (GatewayError("The gateway gave no answer.", transient=False), "gateway"),
        (
            AnswerError("slurm_load_jobs error: Unable to contact slurm controller", transient=True),
            "slurmctld",
        ),
        (AnswerError("sacct: error: slurmdbd: Connection refused", transient=True), "slurmdbd"),
    ],
)
def test_the_broken_part_is_bad_what_is_before_it_well_and_what_is_behind_unknown(
    firefly: Cluster, error: ClusterError, broken: str
) -> None:
    health.answered(firefly)
    health.failed(firefly, error)
    found = tones(firefly)
    order: list[str] = [
        part for part in ("settings", "ssh", "gateway", "slurmctld", "slurmdbd") if part in found
    ]
    at = order.index(broken)
    assert [found[part] for part in order] == ["ok"] * at + ["bad"] + ["wait"] * (len(order) - at - 1)


def test_since_when_is_kept_while_the_same_part_fails(firefly: Cluster) -> None:
    health.failed(firefly, Unreachable("Nobody there."))
    since = ClusterHealth.objects.get().broken_since
    health.failed(firefly, Unreachable("Still nobody."))
    assert ClusterHealth.objects.get().broken_since == since
    health.failed(firefly, GatewayError("No.", transient=False))
    assert ClusterHealth.objects.get().broken_since != since
    health.answered(firefly)
    assert ClusterHealth.objects.get().broken_since is None


def test_a_silent_accounting_alone_is_named(sam: User, firefly: Cluster) -> None:
    health.answered(firefly, problem="slurmdbd: Connection refused")
    assert (tones(firefly)["slurmctld"], tones(firefly)["slurmdbd"]) == ("ok", "bad")
    assert "slurmdbd: Connection refused" in words(browser(sam).get(URL))


def test_old_news_are_not_told_as_well(firefly: Cluster) -> None:
    health.answered(firefly)
    ClusterHealth.objects.update(answered_at=timezone.now() - timedelta(minutes=9))
    assert {tones(firefly)[part] for part in ("ssh", "gateway", "slurmctld", "slurmdbd")} == {"wait"}


def test_a_cluster_s_disk_without_room_is_named(sam: User, a100: Partition) -> None:
    JobFactory.create(allocation__cluster=a100.cluster, partition=a100, reason="DiskFull", attempts=2)
    assert tones(a100.cluster)["disk"] == "bad"
    assert "Jobs that wait because of it: 1." in words(browser(sam).get(URL))


def test_a_login_node_with_another_key_can_be_tried_again_by_staff(sam: User, firefly: Cluster) -> None:
    now = timezone.now()
    sign = LoginNodeSign.objects.create(
        cluster=firefly, host="login1", port=22, host_key="ssh-ed25519 A", tried_at=now, distrusted_at=now
    )
    client = browser(sam)
    page = words(client.get(URL))
    assert "Login node login1:22 It is not the machine that was pinned." in page
    assert "another host key" in page
    assert client.post(f"{URL}nodes/{sign.pk}/trust/").status_code == 302
    sign.refresh_from_db()
    assert sign.distrusted_at is None


@pytest.mark.parametrize("who", ["mei", "ivo", "ada", "ann", "fay", "otto"])
def test_it_is_for_the_staff(
    who: str, request: pytest.FixtureRequest, firefly: Cluster, client_for: Callable[[User], Client]
) -> None:
    client = client_for(request.getfixturevalue(who))
    assert client.get(URL).status_code == 403
    assert client.post(f"{URL}nodes/1/trust/").status_code == 403
    assert client.get("/api/v1/health/").status_code == 403


def test_programs_get_the_same(sam: User, firefly: Cluster) -> None:
    health.failed(firefly, Unreachable("Nobody there."))
    own, road = browser(sam).get("/api/v1/health/").json()
    assert (own["cluster"], road["cluster"]) == (None, "firefly")
    ssh = next(part for part in road["parts"] if part["part"] == "ssh")
    assert (ssh["state"], ssh["said"]) == ("bad", "Nobody there.")


# ── The clock ───────────────────────────────────────────────────────────────


def test_the_clock_notes_that_it_is_alive(db: None, tmp_path: Path) -> None:
    beat = clock.Clock(current_app, lazy=True, schedule_filename=str(tmp_path / "schedule"))
    beat.setup_schedule()
    assert beat.tick() <= clock.EVERY
    assert Pulse.objects.get().part == "beat"


def test_the_clock_goes_on_without_the_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def away(_part: str) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(Pulse, "note", away)
    beat = clock.Clock(current_app, lazy=True, schedule_filename=str(tmp_path / "schedule"))
    beat.setup_schedule()
    assert beat.tick() <= clock.EVERY
