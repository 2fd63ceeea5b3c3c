"""The one-machine Slurm: users, rights, log-in, jobs, and that it leaves nothing behind."""

import json
import pwd
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.one_machine import MARK, SlurmCluster, control, until

pytestmark = pytest.mark.cluster

ACCOUNTS = (("portal", "t-inst"), ("t-inst", "t-lab"), ("t-lab", "t-proj"))


def ask_for(cluster: SlurmCluster, name: str, content: str) -> None:
    """Write a request as the portal's admin does."""
    path = cluster.root / "provision" / "requests" / f"{name}.json"
    cluster.said("sh", "-c", 'printf %s "$2" > "$1"', "sh", str(path), content, user=f"{cluster.prefix}admin")


def answer_for(cluster: SlurmCluster, name: str) -> dict[str, object]:
    """What the provisioner said once it has taken the request away."""
    request = cluster.state / "cluster" / "provision" / "requests" / f"{name}.json"
    until(lambda: not request.exists())
    path = cluster.state / "cluster" / "provision" / "answers" / f"{name}.json"
    answer: dict[str, object] = json.loads(path.read_text())
    path.unlink()
    return answer


def provide(cluster: SlurmCluster, who: str) -> str:
    username = f"{cluster.prefix}{who}"
    ask_for(cluster, username, json.dumps({"username": username, "uid_hint": None}))
    assert answer_for(cluster, username)["state"] == "exists"
    return username


@pytest.fixture(scope="module")
def project(slurm_cluster: SlurmCluster) -> str:
    """A project's account, made by the portal's admin: institution → lab → project."""
    admin = f"{slurm_cluster.prefix}admin"
    for parent, account in ACCOUNTS:
        slurm_cluster.exec(["sacctmgr", "-i", "add", "account", account, f"parent={parent}"], admin)
    return ACCOUNTS[-1][1]


@pytest.fixture(scope="module")
def alice(slurm_cluster: SlurmCluster, project: str) -> str:
    username = provide(slurm_cluster, "alice")
    admin = f"{slurm_cluster.prefix}admin"
    slurm_cluster.exec(["sacctmgr", "-i", "add", "user", username, f"account={project}"], admin)
    return username


def test_it_has_four_nodes_of_eight_gpus_in_two_tiers(slurm_cluster: SlurmCluster) -> None:
    shown = slurm_cluster.said("sinfo", "-h", "-N", "-o", "%N %R %G")
    wanted = {f"gpu0{i} {p} gpu:a100:8" for i in range(1, 5) for p in ("a100", "a100-preemptible")}
    assert set(shown.splitlines()) == wanted


# ── Users ─────────────────────────────────────────────────────────────────────


def test_it_makes_a_user_with_a_home_of_their_own(slurm_cluster: SlurmCluster, alice: str) -> None:
    user = pwd.getpwnam(alice)
    home = slurm_cluster.state / "cluster" / "home" / alice
    assert user.pw_uid >= 1000
    assert (home.stat().st_uid, home.stat().st_mode & 0o777) == (user.pw_uid, 0o700)
    assert provide(slurm_cluster, "alice") == alice  # asking twice is asking once
    assert pwd.getpwnam(alice).pw_uid == user.pw_uid


@pytest.mark.parametrize(
    "name", ["root", "daemon", "fp-zoe", "{prefix}collector", "{prefix}admin", "{prefix}"]
)
def test_it_refuses_names_that_are_not_a_member_s(slurm_cluster: SlurmCluster, name: str) -> None:
    name = name.format(prefix=slurm_cluster.prefix)
    ask_for(slurm_cluster, name, json.dumps({"username": name}))
    assert answer_for(slurm_cluster, name)["state"] == "refused"


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"username": "root"}', '{"username": 7}', "[" * 4000, "x" * 5000]
)
def test_it_refuses_a_request_that_is_not_what_its_name_says(
    slurm_cluster: SlurmCluster, content: str
) -> None:
    name = f"{slurm_cluster.prefix}odd"
    ask_for(slurm_cluster, name, content)
    assert answer_for(slurm_cluster, name)["state"] == "refused"
    assert name not in {user.pw_name for user in pwd.getpwall()}


@pytest.mark.parametrize("make", ["ln -s /etc/passwd", "mkfifo", "mkdir"])
def test_it_follows_no_link_and_waits_for_no_pipe(slurm_cluster: SlurmCluster, make: str) -> None:
    name = f"{slurm_cluster.prefix}odd"
    path = slurm_cluster.root / "provision" / "requests" / f"{name}.json"
    slurm_cluster.said("sh", "-c", f"{make} {path}", user=f"{slurm_cluster.prefix}admin")
    assert answer_for(slurm_cluster, name)["state"] == "refused"


def test_nobody_but_the_admin_may_ask(slurm_cluster: SlurmCluster, alice: str) -> None:
    path = slurm_cluster.root / "provision" / "requests" / f"{slurm_cluster.prefix}zoe.json"
    assert slurm_cluster.exec(["touch", str(path)], alice).returncode != 0


# ── Rights in Slurm ───────────────────────────────────────────────────────────


def test_the_admin_may_change_only_what_is_below_the_portal_s_account(
    slurm_cluster: SlurmCluster, alice: str, project: str
) -> None:
    admin = f"{slurm_cluster.prefix}admin"
    shown = slurm_cluster.said(
        "sacctmgr", "-nP", "show", "assoc", "format=account,parentname,user", user=admin
    )
    chain = {f"{account}|{parent}|" for parent, account in ACCOUNTS}
    assert {*chain, f"{project}||{alice}"} <= set(shown.splitlines())
    for words in (
        ["add", "account", "t-foreign", "parent=root"],
        ["modify", "user", alice, "set", "adminlevel=Operator"],
        ["modify", "user", admin, "set", "adminlevel=Administrator"],
        ["add", "qos", "t-free"],
    ):
        assert slurm_cluster.exec(["sacctmgr", "-i", *words], admin).returncode != 0, words


def test_the_admin_takes_a_member_out_again(slurm_cluster: SlurmCluster, project: str) -> None:
    leaver, admin = provide(slurm_cluster, "leaver"), f"{slurm_cluster.prefix}admin"
    submit = ["sbatch", "--export=NONE", f"--account={project}", "--time=1", "--wrap=true"]
    slurm_cluster.said("sacctmgr", "-i", "add", "user", leaver, f"account={project}", user=admin)
    until(lambda: slurm_cluster.exec(submit, leaver).returncode == 0)
    until(lambda: not slurm_cluster.said("squeue", "-h", user=leaver))
    slurm_cluster.said("sacctmgr", "-i", "remove", "user", leaver, f"account={project}", user=admin)
    until(lambda: slurm_cluster.exec(submit, leaver).returncode != 0)


# ── Jobs ──────────────────────────────────────────────────────────────────────


def submit(cluster: SlurmCluster, user: str, account: str, *options: str) -> str:
    """The id of a new job. A new association takes a moment on its way from slurmdbd to slurmctld."""
    words = ["sbatch", "--parsable", "--export=NONE", f"--account={account}", "--time=5", *options]
    return until(lambda: cluster.exec(words, user).stdout.strip())


def record(cluster: SlurmCluster, job: str) -> list[str]:
    """State and allocated resources of each run of a job."""
    shown = cluster.said(
        "sacct", "-XDnP", "-j", job, "-o", "State,AllocTRES", user=f"{cluster.prefix}collector"
    )
    return shown.splitlines()


def test_a_job_gets_its_gpus_and_the_accounting_says_so(
    slurm_cluster: SlurmCluster, alice: str, project: str
) -> None:
    wrap = "--wrap=echo $USER $HOME $CUDA_VISIBLE_DEVICES"
    job = submit(slurm_cluster, alice, project, "--gres=gpu:2", "--output=gpus.log", wrap)
    (line,) = until(lambda: [line for line in record(slurm_cluster, job) if line.startswith("COMPLETED|")])
    assert {"gres/gpu=2", "gres/gpu:a100=2"} <= set(line.partition("|")[2].split(","))
    user, home, devices = slurm_cluster.said("cat", f"{slurm_cluster.root}/home/{alice}/gpus.log").split()
    assert (user, home, len(devices.split(","))) == (alice, f"{slurm_cluster.root}/home/{alice}", 2)


def test_a_job_above_preempts_and_the_one_below_hears_of_it_and_waits_again(
    slurm_cluster: SlurmCluster, alice: str, project: str
) -> None:
    whole = ("--nodes=4", "--exclusive", "--gres=gpu:8")
    log = f"{slurm_cluster.root}/home/{alice}/low.log"
    slurm_cluster.exec(["rm", "-f", log])
    low = submit(
        slurm_cluster,
        alice,
        project,
        *(*whole, "--partition=a100-preemptible", "--requeue", "--signal=B:USR1@1", "--output=low.log"),
        '--wrap=trap "echo told; scontrol requeue $SLURM_JOB_ID" USR1; echo begun; while :; do sleep 0.2; done',
    )
    until(lambda: "begun" in slurm_cluster.exec(["cat", log]).stdout)
    high = submit(slurm_cluster, alice, project, *whole, "--partition=a100", "--wrap=true")
    until(lambda: any(line.startswith("COMPLETED|") for line in record(slurm_cluster, high)), 60)
    assert "told" in slurm_cluster.said("cat", log)
    assert slurm_cluster.said("squeue", "-h", "-j", low, "-o", "%T", user=alice) == "PENDING"
    slurm_cluster.said("scancel", low, user=alice)


def test_members_do_not_see_each_other(slurm_cluster: SlurmCluster, alice: str, project: str) -> None:
    stranger = provide(slurm_cluster, "stranger")
    job = submit(slurm_cluster, alice, project, "--hold", "--wrap=true")
    assert slurm_cluster.said("squeue", "-h", "-o", "%i", user=stranger) == ""
    assert slurm_cluster.said("sacct", "-aXn", "-o", "jobid", user=stranger) == ""
    assert slurm_cluster.exec(["ls", f"{slurm_cluster.root}/home/{alice}"], stranger).returncode != 0
    collector = f"{slurm_cluster.prefix}collector"
    assert job in slurm_cluster.said("squeue", "-h", "-o", "%i", user=collector).split()
    slurm_cluster.said("scancel", job, user=alice)


# ── Logging in ────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Key:
    """A person's key pair, and what the portal's CA (or another) makes of it."""

    cluster: SlurmCluster
    folder: Path

    def log_in(self, user: str, command: str, principal: str, ca: Path | None = None) -> str:
        """What the login node answers; empty if it lets nobody in."""
        site = self.cluster.config["clusters"]["firefly"]
        node = site["login_nodes"][0]
        sign(ca or Path(site["ca_key_file"]), principal, self.folder / "key.pub")
        known = self.folder / "known_hosts"
        known.write_text(f"[{node['host']}]:{node['port']} {node['host_key']}\n")
        options = [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={known}",
            "IdentitiesOnly=yes",
        ]
        words = [word for option in options for word in ("-o", option)]
        target = ["-i", str(self.folder / "key"), "-p", str(node["port"]), f"{user}@{node['host']}", command]
        asked = json.dumps({"v": 2, "budget": 60, "calls": [{"verb": "hello", "args": [], "token": ""}]})
        done = subprocess.run(
            ["ssh", "-F", "none", *words, *target], input=asked, capture_output=True, text=True
        )
        return done.stdout


def sign(ca: Path, principal: str, key: Path) -> None:
    words = ["-s", str(ca), "-I", "test", "-n", principal, "-V", "-1m:+5m", "-O", "clear", str(key)]
    subprocess.run(["ssh-keygen", "-q", *words], check=True, capture_output=True)


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@pytest.fixture
def key(slurm_cluster: SlurmCluster, tmp_path: Path) -> Key:
    make_key(tmp_path / "key")
    return Key(slurm_cluster, tmp_path)


def test_a_certificate_reaches_the_gateway_and_nothing_else(key: Key, alice: str) -> None:
    said = json.loads(key.log_in(alice, "talk", f"portal-exec:{alice}"))
    assert json.loads(said["results"][0]["stdout"])["user"] == alice
    assert "error" in json.loads(key.log_in(alice, "bash -c id", f"portal-exec:{alice}"))


def test_nobody_else_s_certificate_opens_the_door(key: Key, alice: str, tmp_path: Path) -> None:
    make_key(tmp_path / "foreign")
    admin = f"{key.cluster.prefix}admin"
    assert key.log_in(alice, "talk", f"portal-exec:{admin}") == ""
    assert key.log_in(alice, "talk", alice) == ""
    assert key.log_in("root", "talk", "portal-exec:root") == ""
    assert key.log_in(alice, "talk", f"portal-exec:{alice}", ca=tmp_path / "foreign") == ""


def test_a_member_s_own_shell_files_are_not_read(key: Key, slurm_cluster: SlurmCluster, alice: str) -> None:
    slurm_cluster.said(
        "sh", "-c", 'for f in .bashrc .profile .bash_profile; do echo "echo NOISE" > ~/$f; done', user=alice
    )
    said = key.log_in(alice, "talk", f"portal-exec:{alice}")
    slurm_cluster.said("sh", "-c", "rm ~/.bashrc ~/.profile ~/.bash_profile", user=alice)
    assert said.startswith("{")


# ── Its life ──────────────────────────────────────────────────────────────────


@pytest.fixture
def short_lived(tmp_path: Path) -> Iterator[SlurmCluster]:
    """An instance of a test's own, with nothing left of it afterwards."""
    cluster = SlurmCluster(tmp_path / "state", f"short_{MARK}", f"fp-{MARK}x-")
    up = control("up", "--state", str(cluster.state), "--name", cluster.name, "--prefix", cluster.prefix)
    assert up.returncode == 0, up.stdout + up.stderr
    yield cluster
    control("destroy", "--state", str(cluster.state))


def first_process(cluster: SlurmCluster) -> int:
    status = json.loads((cluster.state / "cluster" / "run" / "status.json").read_text())
    return int(status["pid"])


def inside(namespace: str) -> list[str]:
    """The processes of a PID namespace; those that we may not look at are not ours."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "ns" / "pid").readlink()) == namespace:
                found.append((process / "comm").read_text().strip())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def test_it_says_when_it_is_up_and_refuses_a_second_one_of_its_name(
    slurm_cluster: SlurmCluster, tmp_path: Path
) -> None:
    words = ["--name", slurm_cluster.name, "--prefix", slurm_cluster.prefix]
    again = control("up", "--state", str(slurm_cluster.state), *words)
    assert (again.returncode, "already up" in again.stdout) == (0, True)
    other = control("up", "--state", str(tmp_path / "other"), *words)
    assert (other.returncode, str(slurm_cluster.state) in other.stderr) == (1, True)


def test_it_runs_beside_another_and_leaves_nothing(
    slurm_cluster: SlurmCluster, short_lived: SlurmCluster
) -> None:
    assert slurm_cluster.said("scontrol", "ping").endswith("UP")
    assert short_lived.said("scontrol", "ping").endswith("UP")
    member = provide(short_lived, "mia")
    namespace = str(Path(f"/proc/{first_process(short_lived)}/ns/pid").readlink())
    assert {"slurmctld", "slurmd", "slurmdbd", "mariadbd", "munged", "sshd"} <= set(inside(namespace))

    assert control("down", "--state", str(short_lived.state)).returncode == 0
    assert inside(namespace) == []
    assert pwd.getpwnam(member)

    assert control("destroy", "--state", str(short_lived.state)).returncode == 0
    assert not [user.pw_name for user in pwd.getpwall() if user.pw_name.startswith(short_lived.prefix)]
    assert list(short_lived.state.iterdir()) == []
    assert not short_lived.root.exists()


def test_destroying_an_old_one_leaves_the_one_that_runs_under_its_name(
    short_lived: SlurmCluster, tmp_path: Path
) -> None:
    old, new = short_lived, SlurmCluster(tmp_path / "new", short_lived.name, short_lived.prefix)
    assert control("down", "--state", str(old.state)).returncode == 0
    assert (
        control("up", "--state", str(new.state), "--name", new.name, "--prefix", new.prefix).returncode == 0
    )
    assert control("destroy", "--state", str(old.state)).returncode == 0
    assert provide(new, "mia") == f"{new.prefix}mia"
    assert control("destroy", "--state", str(new.state)).returncode == 0


def test_what_dies_is_started_again(slurm_cluster: SlurmCluster, key: Key, alice: str) -> None:
    shown = control("status", "--state", str(slurm_cluster.state)).stdout
    pid = re.search(r"^  sshd +(\d+)$", shown, re.MULTILINE)
    assert pid
    slurm_cluster.said("kill", "-KILL", pid[1])
    until(lambda: key.log_in(alice, "talk", f"portal-exec:{alice}").startswith("{"))


def test_a_restart_ends_the_jobs_that_ran(short_lived: SlurmCluster) -> None:
    state = ["--state", str(short_lived.state)]
    member, admin = provide(short_lived, "mia"), f"{short_lived.prefix}admin"
    short_lived.said("sacctmgr", "-i", "add", "account", "p", "parent=portal", user=admin)
    short_lived.said("sacctmgr", "-i", "add", "user", member, "account=p", user=admin)
    lost = submit(short_lived, member, "p", "--no-requeue", "--wrap=sleep 600")
    again = submit(short_lived, member, "p", "--requeue", "--wrap=sleep 600")
    until(lambda: short_lived.said("squeue", "-h", "-o", "%T", user=member).split() == ["RUNNING"] * 2)
    assert control("down", *state).returncode == 0
    up = control("up", *state, "--name", short_lived.name, "--prefix", short_lived.prefix)
    assert up.returncode == 0, up.stderr
    assert until(lambda: short_lived.said("squeue", "-h", "-o", "%i %T", user=member)) == f"{again} PENDING"
    until(lambda: record(short_lived, lost)[0].startswith("NODE_FAIL|"))
