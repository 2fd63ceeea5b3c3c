"""`./dev demo`: the whole portal on this machine, with a Slurm cluster of its own."""

import http.client
import json
import subprocess
import textwrap
import time
from dataclasses import dataclass

from dev import (
    clean,
    cluster,
    debian,
    manage,
    node,
    once,
    places,
    prepare,
    python,
    redis,
    rights,
    running,
    say,
    services,
    settings,
)
from dev.services import Crew, Service

CLUSTER_NAME = "demo"
PREFIX = "fp-"  # of the system users
LOGS = places.DEMO / "log"


@dataclass(frozen=True)
class Options:
    once: bool  # do the main job by itself, then stop
    fresh: bool  # begin with new data
    port: int  # where the portal shall answer, if nobody else does


@dataclass(frozen=True)
class LogIn:
    role: str
    name: str
    email: str
    password: str


def demo(options: Options) -> int:
    rights.become_root("The demo")
    services.end_on_signals()
    with running.only_one("demo"):
        began = time.monotonic()
        _say_what_will_happen()
        install()
        if options.fresh:
            clean.start_over()
        places.folder(LOGS)
        with cluster.running(places.DEMO, CLUSTER_NAME, PREFIX), services.crew() as crew:
            env = bring_up(crew, options.port)
            people = log_ins(env)
            say.line(f"\nEverything is up after {say.duration(time.monotonic() - began)}.")
            if options.once:
                member = next(person for person in people if person.role == "lab member")
                return once.do_main_job(crew, env, member.email, member.password)
            _welcome(env["SITE_URL"], people)
            crew.watch()
    return 0


def install() -> None:
    debian.install(_debian_packages())
    python.install()
    node.install()


def bring_up(crew: Crew, port: int) -> dict[str, str]:
    """Starts all services of the portal, each when the one before answers; the environment in which they run."""
    redis_service, redis_url = redis.service(places.DEMO, settings.demo().get("REDIS_URL", ""))
    address = f"http://127.0.0.1:{_free_port(port)}"
    settings.remember(places.DEMO, REDIS_URL=redis_url, SITE_URL=address)
    env = settings.demo() | {"REDIS_URL": redis_url, "SITE_URL": address}
    crew.start(redis_service, env)
    manage.bring_database_up_to_date(env)
    prepare.translations(env)
    prepare.static_files(env)
    crew.start_together(_portal(address), env)
    crew.watch_also(lambda: cluster.check(places.DEMO))
    running.announce("demo", address)
    return env


def log_ins(env: dict[str, str]) -> list[LogIn]:
    """Makes the demo's people and projects, unless they are there; how each logs in."""
    with say.step("Seeding people for every role"):
        seeded = subprocess.run(
            manage.command("seed_demo", "--json"),
            cwd=places.ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            **rights.as_owner(env),
        )
        if seeded.returncode != 0:
            raise say.Stop("manage.py seed_demo failed; what it said is above.")
    return [LogIn(**person) for person in json.loads(seeded.stdout)]


def _debian_packages() -> list[str]:
    return [*cluster.packages(), "redis-server", "gettext", *python.debian_packages()]


def _say_what_will_happen() -> None:
    lacking = debian.missing(_debian_packages())
    say.line("The Firefly demo: the portal with a Slurm cluster of its own, all on this machine.\n")
    if lacking:
        _item(
            "Debian packages",
            f"installs {', '.join(lacking)} and what they need; starts none of their services",
        )
    if not python.ready():
        _item("Python packages", f"installs {len(python.packages())} of requirements/*.txt into .state/venv")
    if not node.ready():
        _item("Front end", f"installs {len(node.packages())} packages of package-lock.json into .state/node")
    if not lacking and python.ready() and node.ready():
        _item("Packages", "all are there")
    _item("System users", "; ".join(" ".join(user.split()) for user in cluster.users(PREFIX)))
    _item("Data", "all in .state/; ./dev clean removes users and data again")
    say.line()


def _item(title: str, text: str) -> None:
    say.line(textwrap.fill(text, 100, initial_indent=f"  {title:<16} ", subsequent_indent=" " * 19))


def _free_port(wished: int) -> int:
    port = services.free_port(wished)
    if port != wished:
        say.line(f"  Port {wished} is taken: the portal answers on {port}.")
    return port


def _portal(address: str) -> list[Service]:
    """The web server, a worker for what is quick, one that moves files, and the clock."""
    web, worker, files, beat = (LOGS / f"{name}.log" for name in ("web", "worker", "files", "beat"))
    gunicorn = [places.program("gunicorn"), "portal.wsgi:application", "--workers", "2", "--threads", "8"]
    together = ["--config", "python:portal.web_processes"]
    listening = ["--bind", address.removeprefix("http://"), "--no-control-socket", "--access-logfile", "-"]
    celery = [places.program("celery"), "-A", "portal"]
    working = [*celery, "worker", "--loglevel", "INFO", "--concurrency", "2", "--queues"]
    ticking = ["beat", "--loglevel", "INFO", "--schedule", str(places.DEMO / "beat-schedule")]
    return [
        Service("the web server", [*gunicorn, *together, *listening], web, lambda: _answers(address)),
        Service(
            "the worker", [*working, "celery", "-n", "quick@%h"], worker, services.says(worker, " ready.")
        ),
        Service(
            "the worker for files",
            [*working, "files", "-n", "files@%h"],
            files,
            services.says(files, " ready."),
        ),
        Service("the clock", [*celery, *ticking], beat, services.says(beat, "beat: Starting")),
    ]


def _answers(address: str) -> bool:
    """Whether a page comes; the first one asks for the log-in."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()


def _welcome(address: str, people: list[LogIn]) -> None:
    role, email, password = (
        max(len(getattr(person, column)) for person in people) for column in ("role", "email", "password")
    )
    rows = [
        f"    {one.role:<{role}}   {one.email:<{email}}   {one.password:<{password}}   {one.name}"
        for one in people
    ]
    print(
        "\n".join(
            [
                "",
                "═" * 78,
                f"  The portal is at  {address}",
                "",
                "  Log in as",
                *rows,
                "  A centre's staff, approvers and PIs need a second factor; in the demo nobody does.",
                "",
                f"  Logs     {LOGS.relative_to(places.ROOT)}/ and .state/demo/cluster/log/",
                "  Cluster  ./dev slurm squeue, ./dev slurm sinfo …",
                "  Stop     Ctrl-C here, or ./dev clean to remove everything",
                "═" * 78,
            ]
        ),
        flush=True,
    )
