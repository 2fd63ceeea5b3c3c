"""Logins that are kept open: how many, how long, and when not. Real sshd, real gateway."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import kept_logins
from jobs.clusters import Door
from jobs.logins import GatewayError
from jobs.schedulers.slurm import Slurm
from jobs.sites import Site
from jobs.ssh import OLDEST, Refused, Unreachable
from tests.cluster.one_machine import until
from tests.jobs.login_node import ME, Gateway, Sshd, Wire, install_gateway, sshd

TOKEN = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return install_gateway(tmp_path)


@pytest.fixture
def server(tmp_path: Path, gateway: Gateway) -> Iterator[Sshd]:
    with sshd(tmp_path / "sshd", " ".join(gateway.command("member"))) as server:
        yield server
    kept_logins.forget()


@pytest.fixture
def site(server: Sshd) -> Site:
    return Site(
        name="firefly",
        scheduler=Slurm(),
        username_prefix="fp-",
        collector=ME,
        admin=ME,
        root_account="",
        ca_key_file=server.root / "ca",
        login_nodes=(server.node,),
    )


def call(site: Site) -> None:
    with Door(site) as door:
        door.free_space(ME)


def logins(server: Sshd) -> int:
    return server.log.count("Accepted publickey")


def connections() -> int:
    """Sockets of this process, and threads that serve them."""
    files = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return sum(str(fd.readlink()).startswith("socket:") for fd in files) + threading.active_count()


def test_one_login_and_one_gateway_serve_call_after_call(site: Site, server: Sshd) -> None:
    for _ in range(5):
        call(site)
    assert logins(server) == 1
    assert server.log.count("Starting session: forced-command") == 1


def test_two_at_a_time_have_one_each(site: Site, server: Sshd) -> None:
    with Door(site) as first, Door(site) as second:
        first.free_space(ME)
        second.free_space(ME)
    assert (logins(server), kept_logins.count()) == (2, 2)


def test_one_that_was_cut_is_noticed_before_anything_is_asked_on_it(site: Site, server: Sshd) -> None:
    with Wire(server.port) as wire:
        behind = replace(site, login_nodes=(replace(server.node, port=wire.port),))
        call(behind)
        wire.cut()
        call(behind)
    assert logins(server) == 2


def test_one_on_which_something_went_wrong_is_not_kept(site: Site, gateway: Gateway) -> None:
    gateway.program.write_text("print(input()[:0] + 'nonsense')\ninput()\n")
    with pytest.raises(GatewayError):
        call(site)
    assert kept_logins.count() == 0


def test_none_is_used_that_its_certificate_may_not_outlast(
    site: Site, server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(site)
    taken = kept_logins.take(server.node, ME, OLDEST - 30)
    assert taken is not None
    kept_logins.give_back(ME, taken)
    assert kept_logins.take(server.node, ME, OLDEST + 1) is None


def test_no_more_are_kept_than_the_cap(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_logins, "MOST", 2)
    before = connections()
    doors = [Door(site) for _ in range(4)]
    for door in doors:
        door.free_space(ME)
    for door in doors:
        door.close()
    assert kept_logins.count() == 2
    kept_logins.forget()
    until(lambda: connections() <= before)


def test_one_that_nobody_uses_is_closed_by_itself(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_logins, "IDLE", 0.2)
    before = connections()
    call(site)
    until(lambda: kept_logins.count() == 0)
    until(lambda: connections() <= before)


def test_no_file_handle_is_lost(site: Site, server: Sshd) -> None:
    call(site)
    kept_logins.forget()
    before = connections()
    for _ in range(5):
        call(site)
        kept_logins.forget()
    with pytest.raises(Refused), Door(replace(site, ca_key_file=server.root / "host_key")) as door:
        door.free_space(ME)
    until(lambda: connections() <= before)


def test_who_is_shut_out_loses_the_kept_ones_and_those_in_use(site: Site, server: Sshd) -> None:
    with Door(site) as in_use:
        in_use.free_space(ME)
        call(site)
        assert kept_logins.count() == 1
        kept_logins.drop(ME)
        assert kept_logins.count() == 0
    assert kept_logins.count() == 0
    call(site)
    assert (logins(server), kept_logins.count()) == (3, 1)


def test_a_kept_login_does_not_hide_that_nobody_is_let_in_any_more(site: Site, server: Sshd) -> None:
    call(site)
    with Door(replace(site, ca_key_file=server.root / "host_key")) as door, pytest.raises(Refused):
        door.check(ME)
    with Door(replace(site, login_nodes=(replace(server.node, port=1),))) as door, pytest.raises(Unreachable):
        door.check(ME)
