"""The door to a cluster, through a real sshd and the real gateway; only Slurm's programs are shell scripts here."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from jobs.clusters import Door, connect_to
from jobs.logins import GatewayError
from jobs.schedulers import AnswerError, TooMuch
from jobs.schedulers.slurm import Slurm
from jobs.sites import ConfigError, Site, read_clusters
from jobs.spec import ClusterError, JobSpec, Verdict
from jobs.ssh import Interrupted, LoginNode, Unreachable
from jobs.transfers import PIECE
from tests.jobs.login_node import ME, Gateway, Sshd, Wire, free_port, install_gateway, sshd

TOKEN = "abcdefghijklmnopqrstuvwxyz"
SPEC = JobSpec(TOKEN, "proj1", "a100", 2, "a100", 1, 4, 4000, 5, "run.sh")
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class LoginNodeOfTests:
    gateway: Gateway
    server: Sshd

    def site(self, *nodes: LoginNode, role: str = "member") -> Site:
        """`role`: which of the three the user who logs in plays."""
        return Site(
            name="firefly",
            scheduler=Slurm(),
            username_prefix="fp-",
            collector=ME,
            admin=ME,
            root_account="",
            ca_key_file=self.server.root / "ca",
            login_nodes=nodes or (self.server.node,),
        )


def login_node(root: Path, role: str) -> Iterator[LoginNodeOfTests]:
    gateway = install_gateway(root)
    with sshd(root / "sshd", " ".join(gateway.command(role))) as server:
        yield LoginNodeOfTests(gateway, server)


@pytest.fixture
def member(tmp_path: Path) -> Iterator[LoginNodeOfTests]:
    yield from login_node(tmp_path, "member")


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[LoginNodeOfTests]:
    yield from login_node(tmp_path, "collector")


def send(door: Door, path: str, body: bytes) -> None:
    door.upload(ME, TOKEN, path, io.BytesIO(body), len(body), hashlib.sha256(body).hexdigest())


def ready(door: Door) -> None:
    door.prepare(ME, TOKEN)
    send(door, "run.sh", b"true\n")


# ── clusters.toml ────────────────────────────────────────────────────────────

GOOD = """
[clusters.firefly]
scheduler = "slurm"
username_prefix = "fp-"
collector = "fp-collector"
admin = "fp-admin"
ca_key_file = "/somewhere/ca"
[[clusters.firefly.login_nodes]]
host = "login1"
port = 22022
host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH7qQC0cFzhFkImITI4pMyAUjzHXqOBFkkvRVy+utGdF login1"
"""


def test_it_reads_where_the_clusters_are(tmp_path: Path) -> None:
    path = tmp_path / "clusters.toml"
    path.write_text(GOOD)
    site = read_clusters(path)["firefly"]
    assert (site.collector, site.login_nodes[0].port, site.root_account) == ("fp-collector", 22022, "")
    assert site.login_nodes[0].host_key.count(" ") == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (GOOD, "", r"\[clusters.NAME\]"),
        (GOOD, "clusters = 5", r"\[clusters.NAME\]"),
        (GOOD, "[clusters", "TOML"),
        ('scheduler = "slurm"', "", "add scheduler"),
        ('"slurm"', '"pbs"', "one of slurm"),
        ('username_prefix = "fp-"', 'username_prefix = ""', "add username_prefix"),
        ('ca_key_file = "/somewhere/ca"', "ca_key_file = 5", "add ca_key_file"),
        ("port = 22022", 'port = "22"', "port must be"),
        ("port = 22022", "port = 0", "port must be"),
        ('admin = "fp-admin"', 'admin = "fp-admin"\nlogins_at_once = 0', "logins_at_once must be"),
        ('admin = "fp-admin"', 'admin = "fp-admin"\nlogins_at_once = true', "logins_at_once must be"),
        ("ssh-ed25519 ", "", "ssh-keyscan"),
        ("AAAAC3", "%%%", "ssh-keyscan"),
        ("[[clusters.firefly.login_nodes]]", "[clusters.firefly.login_nodes]", "at least one"),
    ],
)
def test_a_broken_file_is_answered_with_what_mends_it(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    path = tmp_path / "clusters.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=says) as caught:
        read_clusters(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_missing_cluster_are_named(tmp_path: Path, settings: Settings) -> None:
    settings.CLUSTERS_FILE = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match="Set CLUSTERS_FILE"):
        connect_to("firefly")
    settings.CLUSTERS_FILE = tmp_path / "clusters.toml"
    settings.CLUSTERS_FILE.write_text(GOOD)
    with pytest.raises(ConfigError, match="it has: firefly"):
        connect_to("glowworm")
    assert connect_to("firefly").site.name == "firefly"


def test_a_gateway_of_another_version_is_told_by_both_numbers(member: LoginNodeOfTests) -> None:
    """The one of before knows no such word, and answers with its own number."""
    program = member.gateway.program
    program.write_text(
        program.read_text().replace("VERSION = 2", "VERSION = 1").replace('"talk": talk', '"run": talk')
    )
    with Door(member.site()) as door, pytest.raises(GatewayError, match=r"of version 1.*speaks to version 2"):
        door.free_space(ME)


def test_a_missing_ca_key_is_named(member: LoginNodeOfTests) -> None:
    with (
        Door(replace(member.site(), ca_key_file=Path("/nowhere/ca"))) as door,
        pytest.raises(ConfigError, match="/nowhere/ca"),
    ):
        door.prepare(ME, TOKEN)


# ── Logging in ───────────────────────────────────────────────────────────────


def test_a_login_node_that_is_away_is_passed_over(member: LoginNodeOfTests) -> None:
    away = replace(member.server.node, port=free_port())
    with Door(member.site(away, member.server.node)) as door:
        door.prepare(ME, TOKEN)
    with Door(member.site(away, away)) as door, pytest.raises(Unreachable):
        door.prepare(ME, TOKEN)


def test_one_login_serves_many_calls_and_a_broken_one_is_renewed(member: LoginNodeOfTests) -> None:
    with (
        Wire(member.server.port) as wire,
        Door(member.site(replace(member.server.node, port=wire.port))) as door,
    ):
        ready(door)
        door.list_files(ME, TOKEN)
        assert member.server.log.count("Accepted publickey") == 1
        wire.cut()
        with suppress(ClusterError):  # the cut may be noticed only by this call
            door.list_files(ME, TOKEN)
        assert [file.path for file in door.list_files(ME, TOKEN).files] == ["run.sh"]
        assert member.server.log.count("Accepted publickey") == 2


# ── Files ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1])
def test_files_of_any_size_travel_both_ways(member: LoginNodeOfTests, size: int) -> None:
    body = os.urandom(size)
    with Door(member.site()) as door:
        ready(door)
        send(door, "some/big file.bin", body)
        assert b"".join(door.download(ME, TOKEN, "some/big file.bin")) == body


def test_an_upload_that_is_cut_goes_on_where_it_was(member: LoginNodeOfTests) -> None:
    body = os.urandom(20 << 20)
    heard: list[int] = []
    with (
        Wire(member.server.port) as wire,
        Door(member.site(replace(member.server.node, port=wire.port))) as door,
    ):
        ready(door)
        wire.cut_after = wire.carried + (12 << 20)
        before = wire.carried
        digest = hashlib.sha256(body).hexdigest()
        door.upload(ME, TOKEN, "big", io.BytesIO(body), len(body), digest, progress=heard.append)
        assert wire.carried - before < 28 << 20, "what had arrived was not sent again"
    assert (member.gateway.folder(TOKEN) / "big").read_bytes() == body
    assert heard[-1] == len(body)


def test_a_download_that_is_cut_goes_on_where_it_was(member: LoginNodeOfTests) -> None:
    body = os.urandom(8 << 20)
    with (
        Wire(member.server.port) as wire,
        Door(member.site(replace(member.server.node, port=wire.port))) as door,
    ):
        ready(door)
        send(door, "big", body)
        got = b""
        for chunk in door.download(ME, TOKEN, "big"):
            if not got:
                wire.cut()
            got += chunk
    assert got == body


def test_a_file_that_is_not_there_is_told(member: LoginNodeOfTests) -> None:
    with Door(member.site()) as door:
        door.prepare(ME, TOKEN)
        with pytest.raises(AnswerError, match="No such file"):
            list(door.download(ME, TOKEN, "none"))
        assert door.tail(ME, TOKEN, "none").size is None


# ── Submitting ───────────────────────────────────────────────────────────────


def submit(door: Door) -> Verdict:
    (answer,) = door.submit(ME, [SPEC])
    return answer.verdict


def test_what_surely_was_not_taken_may_be_sent_again_at_once(member: LoginNodeOfTests) -> None:
    with Door(member.site()) as door:
        ready(door)
        member.gateway.slurm(
            "sbatch",
            "echo 'sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)' >&2; exit 1",
        )
        assert submit(door) is Verdict.RETRY
        member.gateway.slurm("sbatch", "echo 530")
        assert submit(door) is Verdict.ACCEPTED


def test_an_unknown_outcome_stays_unknown_until_it_is_forgotten(member: LoginNodeOfTests) -> None:
    with Door(member.site()) as door:
        ready(door)
        member.gateway.slurm(
            "sbatch",
            "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1",
        )
        assert [submit(door), submit(door)] == [Verdict.UNKNOWN, Verdict.UNKNOWN]
        door.forget(ME, TOKEN)
        member.gateway.slurm("sbatch", "echo 530")
        assert submit(door) is Verdict.ACCEPTED


def test_a_cut_during_the_call_is_unknown_and_the_job_is_there_once(member: LoginNodeOfTests) -> None:
    with (
        Wire(member.server.port) as wire,
        Door(member.site(replace(member.server.node, port=wire.port))) as door,
    ):
        ready(door)
        wire.cut_after = wire.carried + 300  # the request is over, the answer is not
        member.gateway.slurm("sbatch", "echo x >> ~/calls; echo 530")
        first, second = submit(door), submit(door)
    assert first is Verdict.UNKNOWN
    assert second in (Verdict.ACCEPTED, Verdict.UNKNOWN)
    calls = member.gateway.home / "calls"
    assert not calls.exists() or calls.read_text() == "x\n"


def test_nobody_there_means_surely_not_sent(member: LoginNodeOfTests) -> None:
    with Door(member.site(replace(member.server.node, port=free_port()))) as door, pytest.raises(Unreachable):
        door.submit(ME, [SPEC])


def test_a_search_that_failed_in_part_is_no_answer(member: LoginNodeOfTests) -> None:
    member.gateway.slurm("squeue", "true")
    member.gateway.slurm("sacct", "echo 'sacct: error: slurmdbd: Connection refused' >&2; exit 1")
    with Door(member.site()) as door:
        with pytest.raises(AnswerError, match="Connection refused"):
            door.find(ME, [TOKEN], NOW)
        member.gateway.slurm("sacct", "true")
        assert door.find(ME, [TOKEN], NOW) == {}


# ── The whole cluster ────────────────────────────────────────────────────────


def test_without_its_accounting_the_queue_is_still_seen(collector: LoginNodeOfTests) -> None:
    collector.gateway.slurm("squeue", "true")
    collector.gateway.slurm("sinfo", "exit 1")
    collector.gateway.slurm("sacct", "echo 'sacct: error: slurmdbd: Connection refused' >&2; exit 1")
    with Door(collector.site()) as door:
        seen = door.poll(NOW - timedelta(hours=1), NOW)
    assert (seen.queue, seen.records, seen.free_gpus) == ((), None, None)
    assert seen.trouble is not None and "Connection refused" in str(seen.trouble)
    assert abs(seen.asked_at - datetime.now(UTC)) < timedelta(seconds=60)


def test_without_a_queue_there_is_no_answer(collector: LoginNodeOfTests) -> None:
    for program in ("sacct", "sinfo"):
        collector.gateway.slurm(program, "true")
    collector.gateway.slurm(
        "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    )
    with Door(collector.site()) as door, pytest.raises(AnswerError, match="Unable to contact"):
        door.poll(NOW - timedelta(hours=1), NOW)


def test_records_of_which_there_are_too_many_are_not_read(collector: LoginNodeOfTests) -> None:
    collector.gateway.slurm("squeue", "true")
    collector.gateway.slurm("sacct", "head --bytes=200 /dev/zero | tr '\\0' x")
    with Door(collector.site()) as door:
        with pytest.raises(TooMuch):
            door.pull(NOW - timedelta(hours=1), NOW, most=199)
        with pytest.raises(AnswerError, match="was cut off"):  # it is read, and is no table
            door.pull(NOW - timedelta(hours=1), NOW, most=200)


def test_a_broken_gateway_is_told_and_says_nothing_of_any_job(member: LoginNodeOfTests) -> None:
    member.gateway.program.write_text("print('motd')")
    with Door(member.site()) as door:
        with pytest.raises(AnswerError, match="gave no answer"):
            door.list_files(ME, TOKEN)
        assert submit(door) is Verdict.UNKNOWN


def test_interrupted_belongs_to_the_family() -> None:
    assert issubclass(Interrupted, ClusterError) and issubclass(AnswerError, ClusterError)
