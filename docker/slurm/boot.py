#!/usr/bin/python3
"""The first process of an instance: PID 1 of its PID namespace, started by cluster.py up.

Mounts the instance's folder at its short path, starts the daemons in their order, says in a status file how far
it is, starts again what dies, and ends everything on SIGTERM. When this process ends, however it does, the kernel
ends every process of the namespace with it.

usage: boot.py STATE-FOLDER (inside new mount, PID and UTS namespaces)
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import daemons
import posix_users
import scheduler_accounts
import shutting_out
from daemons import Daemon
from instance import ClusterError, Instance, claim, load, write_atomically

START_SECONDS = 180  # a slow machine at its first start; one step
STOP_SECONDS = 20  # for each daemon
RESTARTS = 5  # in a minute, before we believe that it will not stay


class Ended(Exception):
    """SIGTERM came."""


class Boot:
    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.running: dict[str, tuple[Daemon, subprocess.Popen[bytes]]] = {}
        self.ended: list[Daemon] = []  # to be started again, unless they are held
        self.deaths: dict[str, list[float]] = {}
        self.steps: list[tuple[str, float]] = []
        self.host_pid = int(Path("/proc/self").readlink().name)  # /proc is still the one of the machine

    def up(self) -> None:
        instance = self.instance
        self.tell("starting")
        instance.release_all()
        settle(instance)
        self.start(
            "message authority and database", daemons.message_authority(instance), daemons.database(instance)
        )
        self.start("accounting", daemons.accounting(instance))
        self.step("the portal's users", self.make_users)
        self.start("controller", daemons.controller(instance))
        self.start("nodes", *daemons.nodes(instance))
        self.step("jobs of the last time", lambda: fail_nodes_with_jobs(instance))
        self.step("the portal's rights in Slurm", lambda: scheduler_accounts.ensure_rights(instance))
        self.start("login node", daemons.login_node(instance), daemons.provisioner(instance))
        self.tell("up")

    def make_users(self) -> None:
        scheduler_accounts.ensure_cluster(self.instance)
        settings = self.instance.settings
        posix_users.remove_left_behind(self.instance)
        posix_users.provide(settings.collector, self.instance)
        posix_users.provide(settings.fencer, self.instance)
        admin = posix_users.provide(settings.admin, self.instance)
        os.chown(self.instance.provision_requests, admin, -1)
        self.readmit_members()

    def readmit_members(self) -> None:
        """Those of earlier starts: the machine may have lost them, and the rules for logging in may be others."""
        out = shutting_out.recorded(self.instance)
        for username in posix_users.recorded(self.instance):
            try:
                posix_users.provide(username, self.instance)
                if username in out:
                    shutting_out.shut_out(username, self.instance)
            except ClusterError as trouble:
                print(f"{username} can't be taken over: {trouble}", flush=True)

    def start(self, title: str, *wanted: Daemon) -> None:
        began = time.monotonic()
        for daemon in wanted:
            self.spawn(daemon)
        for daemon in wanted:
            self.await_ready(daemon)
        self.did(title, began)

    def step(self, title: str, work: Callable[[], None]) -> None:
        began = time.monotonic()
        work()
        self.did(title, began)

    def spawn(self, daemon: Daemon) -> None:
        with (self.instance.root / "log" / f"{daemon.name}.out").open("ab") as log:
            process = subprocess.Popen(
                daemon.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**self.instance.environment(), **daemon.environment},
                start_new_session=True,
                user=daemon.user,
                group=daemon.user,
                extra_groups=[] if daemon.user else None,
            )
        self.running[daemon.name] = daemon, process

    def await_ready(self, daemon: Daemon) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not daemon.ready():
            if self.running[daemon.name][1].poll() is not None:
                raise ClusterError(f"{daemon.name} ended while starting. {self.last_words(daemon)}")
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{daemon.name} was not ready in {START_SECONDS} s. {self.last_words(daemon)}"
                )
            time.sleep(0.05)

    def last_words(self, daemon: Daemon) -> str:
        log = self.instance.root / "log" / f"{daemon.name}.out"
        lines = log.read_text(errors="replace").strip().splitlines()
        return f"Its last words: {lines[-1]!r}" if lines else "It said nothing."

    def supervise(self) -> None:
        """Reap what dies, ours and the orphans of jobs, and start ours again."""
        while True:
            while (dead := next_dead()) is not None:
                self.bury(dead)
            for daemon in [one for one in self.ended if not self.instance.is_held(one.name)]:
                self.ended.remove(daemon)
                self.revive(daemon)
            time.sleep(0.2)

    def bury(self, pid: int) -> None:
        for daemon, process in self.running.values():
            if process.pid == pid:
                process.wait()
                self.ended.append(daemon)
                return
        os.waitpid(pid, 0)

    def revive(self, daemon: Daemon) -> None:
        now = time.monotonic()
        recent = [when for when in self.deaths.get(daemon.name, []) if when > now - 60]
        self.deaths[daemon.name] = [*recent, now]
        if len(recent) >= RESTARTS:
            raise ClusterError(f"{daemon.name} ends again and again. {self.last_words(daemon)}")
        print(f"{daemon.name} ended; starting it again", flush=True)
        time.sleep(1 if recent else 0)
        self.spawn(daemon)
        self.tell("up")

    def down(self) -> None:
        """End the daemons in reverse order, each with the time to save its state."""
        if "slurmctld" in self.running:
            fail_nodes_with_jobs(self.instance)
        for daemon, process in reversed(list(self.running.values())):
            process.terminate()
            # A frozen process hears SIGTERM only once it goes on.
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                print(f"{daemon.name} did not end by itself", flush=True)

    def did(self, title: str, began: float) -> None:
        self.steps.append((title, round(time.monotonic() - began, 1)))
        self.tell("starting")

    def tell(self, phase: str, reason: str = "") -> None:
        processes = {name: process.pid for name, (_, process) in self.running.items()}
        status = {
            "phase": phase,
            "reason": reason,
            "pid": self.host_pid,
            "steps": self.steps,
            "inside": processes,
        }
        write_atomically(self.instance.status, json.dumps(status, indent=1) + "\n")


def settle(instance: Instance) -> None:
    """Arrange the namespaces: a name that resolves to loopback, our own /proc, the folder at its short path."""
    socket.sethostname("localhost")
    mount("-t", "proc", "-o", "nosuid,nodev,noexec", "proc", "/proc")
    mount("--bind", str(instance.body), str(instance.root))


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"mount failed: {done.stderr.strip()}")


def fail_nodes_with_jobs(instance: Instance) -> None:
    """Tell Slurm that the nodes with jobs failed: the end of the namespace ends, or has ended, their processes.

    Slurm requeues what may be requeued. By itself it finds out up to half an hour later, and counts until then.
    """
    nodes = daemons.ask(instance, "squeue -h --states=running,suspended,completing -o %N").split()
    for state in ("DOWN", "RESUME") if nodes else ():
        daemons.ask(instance, f"scontrol update nodename={','.join(nodes)} state={state} reason=restart")


def next_dead() -> int | None:
    """The number of a child that has ended, not yet reaped; None if there is none."""
    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found.si_pid if found else None


def on_sigterm(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Ended


def main(state: Path) -> int:
    os.umask(0o022)
    instance = load(state)
    if instance is None:
        raise SystemExit(f"No cluster has been made in {state}.")
    claim(instance)
    boot = Boot(instance)
    signal.signal(signal.SIGTERM, on_sigterm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        boot.up()
        boot.supervise()
    except Ended:
        boot.down()
    except ClusterError as trouble:
        boot.down()
        boot.tell("failed", str(trouble))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
