"""A cluster with several login nodes: which is tried, which is passed over, and what is told of it. Real sshds on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from accounting.models import Cluster
from jobs import failover, health, kept_logins, login_nodes, upkeep
from jobs.clusters import Door
from jobs.schedulers.slurm import Slurm
from jobs.signs import FailureCount, LoginNodeSign
from jobs.sites import Site
from jobs.spec import ClusterError
from jobs.ssh import HostKeyMismatch, LoginNode, Unreachable
from portal.models import AuditEvent, OutgoingMail, User
from portal.transitions import Overtaken
from tests.jobs.login_node import ME, Gateway, Sshd, Wire, free_port, install_gateway, make_key, public, sshd

TOKEN = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return install_gateway(tmp_path)


@pytest.fixture
def first(tmp_path: Path, gateway: Gateway) -> Iterator[Sshd]:
    with sshd(tmp_path / "first", " ".join(gateway.command("member"))) as server:
        yield server


@pytest.fixture
def second(tmp_path: Path, gateway: Gateway, first: Sshd) -> Iterator[Sshd]:
    """Another machine, with a host key of its own, that trusts the same CA."""
    with sshd(tmp_path / "second", " ".join(gateway.command("member")), ca=first.root / "ca") as server:
        yield server


def site(server: Sshd, *nodes: LoginNode) -> Site:
    return Site(
        name="firefly",
        scheduler=Slurm(),
        username_prefix="fp-",
        collector=ME,
        admin=ME,
        root_account="",
        ca_key_file=server.root / "ca",
        login_nodes=nodes,
    )


def log_in(where: Site) -> None:
    kept_logins.forget()
    with Door(where) as door:
        door.prepare(ME, TOKEN)


def logins(server: Sshd) -> int:
    return server.log.count("Accepted publickey")


def restart() -> None:
    """What a fresh process of the worker knows: nothing."""
    failover.forget()


def test_one_that_refuses_is_put_behind_the_others(first: Sshd) -> None:
    away = replace(first.node, port=free_port())
    where = site(first, away, first.node)
    log_in(where)
    assert failover.order(where.login_nodes) == [first.node, away]


def test_one_that_accepts_and_says_nothing_is_put_behind(
    first: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.logins.CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = replace(first.node, port=silent.getsockname()[1])
        where = site(first, mute, first.node)
        log_in(where)
        assert failover.order(where.login_nodes) == [first.node, mute]


def test_one_that_breaks_a_call_off_is_put_behind(first: Sshd, second: Sshd) -> None:
    with Wire(first.port) as wire:
        broken = replace(first.node, port=wire.port)
        where = site(first, broken, second.node)
        with Door(where) as door:
            door.prepare(ME, TOKEN)
            wire.cut_after = wire.carried + 1
            with pytest.raises(ClusterError):
                door.prepare(ME, TOKEN)
        assert failover.order(where.login_nodes) == [second.node, broken]
        log_in(where)
    assert logins(second) == 1


def test_if_all_fail_the_last_one_s_reason_is_told(first: Sshd) -> None:
    with pytest.raises(Unreachable):
        log_in(site(first, replace(first.node, port=free_port()), replace(first.node, port=free_port())))


def test_each_one_has_a_key_of_its_own_and_a_changed_one_gets_no_login(
    first: Sshd, second: Sshd, tmp_path: Path
) -> None:
    changed = replace(first.node, host_key=public(make_key(tmp_path / "pinned")))
    where = site(first, changed, second.node)
    log_in(where)
    log_in(where)
    assert (logins(first), logins(second)) == (0, 2)
    assert first.log.count("Connection from") <= 2, (
        "waiting for its port, and the one try: it is not asked again"
    )


def test_with_none_left_that_is_the_pinned_one_nobody_logs_in(first: Sshd, tmp_path: Path) -> None:
    changed = replace(first.node, host_key=public(make_key(tmp_path / "pinned")))
    for _try in range(2):
        with pytest.raises(HostKeyMismatch):
            log_in(site(first, changed))
    assert logins(first) == 0


def test_a_changed_key_alarms_the_staff_once_whatever_the_number_of_tries(
    sam: User, firefly: Cluster, first: Sshd, second: Sshd, tmp_path: Path
) -> None:
    changed = replace(first.node, host_key=public(make_key(tmp_path / "pinned")))
    for _process in range(2):
        restart()
        log_in(site(first, changed, second.node))
        login_nodes.share(firefly.pk)
    mail = OutgoingMail.objects.get(template="host_key_changed")
    assert (mail.recipient, mail.context["node"]) == (sam, str(changed))


def test_what_one_process_saw_the_others_know(
    firefly: Cluster, first: Sshd, second: Sshd, tmp_path: Path
) -> None:
    changed = replace(first.node, host_key=public(make_key(tmp_path / "pinned")))
    away = replace(second.node, port=free_port())
    where = site(first, changed, away, second.node)
    log_in(where)
    login_nodes.share(firefly.pk)
    restart()
    assert health.may_try(firefly.pk)
    assert failover.order(where.login_nodes) == [second.node, away]


def test_one_that_lets_the_portal_in_again_is_no_longer_behind(firefly: Cluster, first: Sshd) -> None:
    failover.failed("firefly", first.node, Unreachable("It was away."))
    login_nodes.share(firefly.pk)
    assert LoginNodeSign.objects.get().failing_since
    log_in(site(first, first.node))
    login_nodes.share(firefly.pk)
    sign = LoginNodeSign.objects.get()
    assert (sign.failing_since, sign.behind_until, sign.problem) == (None, None, "")


def test_staff_say_when_it_may_be_tried_again(sam: User, firefly: Cluster, first: Sshd) -> None:
    failover.failed("firefly", first.node, HostKeyMismatch("Another one."))
    login_nodes.share(firefly.pk)
    assert failover.order([first.node]) == []
    upkeep.trust_node(by=sam, sign=LoginNodeSign.objects.get())
    login_nodes.share(firefly.pk)
    log_in(site(first, first.node))
    assert logins(first) == 1
    assert AuditEvent.objects.filter(action="host key looked at", actor=sam).exists()
    with pytest.raises(Overtaken):
        upkeep.trust_node(by=sam, sign=LoginNodeSign.objects.get())


def test_a_key_pinned_anew_makes_it_another_node(firefly: Cluster, first: Sshd, tmp_path: Path) -> None:
    changed = replace(first.node, host_key=public(make_key(tmp_path / "pinned")))
    with pytest.raises(HostKeyMismatch):
        log_in(site(first, changed))
    log_in(site(first, first.node))
    assert logins(first) == 1


# ── The breaker ─────────────────────────────────────────────────────────────


def test_an_open_breaker_lets_only_the_poll_try(firefly: Cluster) -> None:
    assert health.may_try(firefly.pk)
    health.failed(firefly, Unreachable("Nobody there."))
    assert not health.may_try(firefly.pk)
    known = health.of(firefly.pk)
    type(known).objects.update(try_again_at=timezone.now() - timedelta(seconds=1))
    assert not health.may_try(firefly.pk), "the pause is over, and the one trial is the poll's"
    health.answered(firefly)
    assert health.may_try(firefly.pk)


def test_where_nobody_polls_one_caller_is_the_trial(firefly: Cluster) -> None:
    Cluster.objects.filter(pk=firefly.pk).update(accepts_jobs=False)
    health.failed(firefly, Unreachable("Nobody there."))
    known = health.of(firefly.pk)
    type(known).objects.update(try_again_at=timezone.now() - timedelta(seconds=1))
    assert [health.may_try(firefly.pk), health.may_try(firefly.pk)] == [True, False]


def test_a_pause_grows_has_an_end_and_is_never_quite_the_same() -> None:
    pauses = [health.pause_after(failures) for failures in (0, 1, 2, 30)]
    assert [pause // health.FIRST_PAUSE for pause in pauses[:3]] == [1, 2, 4]
    assert health.LONGEST_PAUSE <= pauses[3] <= health.LONGEST_PAUSE * 1.25
    assert len({health.pause_after(0) for _ in range(20)}) > 10


def test_each_kind_of_failure_is_counted(firefly: Cluster) -> None:
    for error in (Unreachable("Away."), Unreachable("Away."), HostKeyMismatch("Another.")):
        health.failed(firefly, error)
    assert dict(FailureCount.objects.values_list("kind", "count")) == {"unreachable": 2, "host_key": 1}
