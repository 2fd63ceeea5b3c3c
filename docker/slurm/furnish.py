"""Fill the instance's folder before it starts: folders, keys, configuration, the portal's two programs.

Keys and data are made once; configuration and programs are written anew at each start.
"""

import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from string import Template

from instance import NODES, ClusterError, Instance, save, write_atomically
from scheduler_accounts import ROOT_ACCOUNT

TEMPLATES = Path(__file__).parent / "templates"
CHECKOUT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = {"gateway.py": "firefly-gateway", "job.sh": "job.sh"}
NULL_DEVICE = os.makedev(1, 3)


def furnish(instance: Instance) -> None:
    instance.state.mkdir(parents=True, exist_ok=True)
    save(instance)
    make_folders(instance)
    make_keys(instance)
    make_devices(instance)
    make_database(instance)
    write_configuration(instance)
    install_programs(instance)
    tell_portal(instance)


def make_folders(instance: Instance) -> None:
    body = instance.body
    # It tells slurmd of jobs whose processes ended with the last run of the cluster.
    shutil.rmtree(body / "spool/slurmd", ignore_errors=True)
    closed = {"spool/munge": "munge", "spool/slurmctld": "slurm", "log/slurm": "slurm", "run/slurm": "slurm"}
    opened = {"run/munge": "munge", "run/mysql": "mysql"}
    ours = ["", "etc", "log", "run", "spool", "ssh", "dev", "home", "libexec", "principals", "provision"]
    for name in [*ours, "spool/slurmd", *(f"spool/slurmd/{node}" for node in NODES)]:
        make_folder(body / name, 0o755, "root")
    for name, user in closed.items():
        make_folder(body / name, 0o700, user)
    for name, user in opened.items():
        make_folder(body / name, 0o755, user)
    instance.root.mkdir(parents=True, exist_ok=True)
    make_folder(body / "provision/requests", 0o700, None)
    make_folder(body / "provision/answers", 0o755, "root")
    # sshd puts its unprivileged half there; its package makes it only where systemd starts it.
    make_folder(Path("/run/sshd"), 0o755, "root")


def make_folder(folder: Path, mode: int, user: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(mode)
    if user:
        shutil.chown(folder, user, user)


def make_keys(instance: Instance) -> None:
    munge_key = instance.body / "spool/munge/munge.key"
    if not munge_key.exists():
        munge_key.write_bytes(secrets.token_bytes(128))
        munge_key.chmod(0o400)
        shutil.chown(munge_key, "munge", "munge")
    instance.ca_key.parent.mkdir(mode=0o700, exist_ok=True)
    make_ed25519(instance.ca_key, "firefly-portal CA")
    make_ed25519(instance.body / "ssh/host_key", "firefly login node")
    shutil.copyfile(instance.ca_key.with_name("ca.pub"), instance.body / "ssh/ca.pub")
    revoked = instance.body / "ssh/revoked.krl"
    if not revoked.exists():
        run("ssh-keygen", "-q", "-k", "-f", str(revoked))


def make_ed25519(path: Path, comment: str) -> None:
    if not path.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def make_devices(instance: Instance) -> None:
    for number in range(8):
        device = instance.body / f"dev/nvidia{number}"
        if not device.exists():
            os.mknod(device, 0o20666, NULL_DEVICE)


def make_database(instance: Instance) -> None:
    """An empty MariaDB data folder; a half-made one, from an interrupted start, is made anew."""
    data, draft = instance.body / "db", instance.body / "db.new"
    if data.exists():
        return
    shutil.rmtree(draft, ignore_errors=True)
    make_folder(draft, 0o700, "mysql")
    run(
        *(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={draft}",
            "--skip-test-db",
            "--skip-name-resolve",
        ),
        *(
            "--auth-root-authentication-method=socket",
            "--innodb-log-file-size=32M",
            "--innodb-buffer-pool-size=64M",
        ),
    )
    run("chown", "--recursive", "mysql:mysql", str(draft))
    draft.rename(data)


def write_configuration(instance: Instance) -> None:
    settings, ports = instance.settings, instance.settings.ports
    values = {
        "root": instance.root,
        "munge_socket": instance.munge_socket,
        "prefix": settings.prefix,
        "min_job_age": settings.min_job_age,
        "slurmctld_port": ports.slurmctld,
        "slurmdbd_port": ports.slurmdbd,
        "ssh_port": ports.ssh,
        "nodes": "\n".join(
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port}"
            for node, port in zip(NODES, ports.slurmd, strict=True)
        ),
    }
    for name in (
        "slurm.conf",
        "gres.conf",
        "cgroup.conf",
        "mariadb.cnf",
        "accounting.sql",
        "sshd_config",
        "slurmdbd.conf",
    ):
        text = Template((TEMPLATES / name).read_text()).substitute(values)
        write_atomically(instance.body / "etc" / name, text)
    # slurmdbd refuses a configuration that others may read.
    secret = instance.body / "etc/slurmdbd.conf"
    shutil.chown(secret, "slurm", "slurm")
    secret.chmod(0o600)


def install_programs(instance: Instance) -> None:
    """The gateway and the constant batch script, as this checkout has them now."""
    for source, name in PROGRAMS.items():
        program = CHECKOUT / "jobs/remote" / source
        if program.exists():
            write_atomically(instance.body / "libexec" / name, program.read_text(), mode=0o755)
    settings = {
        "slurm_conf": str(instance.slurm_conf),
        "path": "/usr/local/bin:/usr/bin:/bin",
        "provision_requests": str(instance.provision_requests),
        "provision_answers": str(instance.provision_answers),
        "username_prefix": instance.settings.prefix,
    }
    write_atomically(instance.body / "libexec/gateway.json", json.dumps(settings, indent=2) + "\n")


def tell_portal(instance: Instance) -> None:
    """clusters.toml: what the portal has to know to log in here."""
    settings = instance.settings
    host_key = " ".join((instance.body / "ssh/host_key.pub").read_text().split()[:2])
    text = f"""[clusters.firefly]
scheduler = "slurm"
username_prefix = "{settings.prefix}"
collector = "{settings.collector}"
admin = "{settings.admin}"
fencer = "{settings.fencer}"
root_account = "{ROOT_ACCOUNT}"
ca_key_file = {json.dumps(str(instance.ca_key))}

[[clusters.firefly.login_nodes]]
host = "127.0.0.1"
port = {settings.ports.ssh}
host_key = "{host_key}"
"""
    write_atomically(instance.portal_settings, text)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise ClusterError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()}")
