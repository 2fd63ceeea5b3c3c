"""`./dev test`: all tests, on SQLite and PostgreSQL, against a real SSH server, Slurm, Redis and browser."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev import (
    cluster,
    debian,
    node,
    places,
    postgres,
    prepare,
    python,
    redis,
    rights,
    running,
    say,
    services,
    settings,
)
from dev.services import Crew

# POSIX users belong to the machine: two checkouts that test at the same time on it need a mark each.
MARK = os.environ.get("FIREFLY_TEST_MARK", "t")
PACKAGES = ["redis-server", "gettext", "postgresql"]
LOGS = places.TEST / "log"
UNITS = "not cluster and not e2e"
UNIT_RUN = ["-m", UNITS, "-n", "auto"]  # on all cores, each with a database of its own
PARTS = "cluster or e2e"
LANES = 4  # clusters side by side: what runs on one waits for it nearly all the time
LONG = "--long"
# Instead of a few: tests/cluster/test_soak.py, tests/faults/test_chaos.py, tests/cluster/test_endurance.py.
LONG_RUNS = {
    "FIREFLY_SOAK_MINUTES": "30",
    "FIREFLY_CHAOS_MINUTES": "30",
    "FIREFLY_ENDURANCE_MINUTES": "60",
}


@dataclass(frozen=True)
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)


@dataclass(frozen=True)
class Outcome:
    status: int  # of pytest
    counts: Counts


def test(words: list[str]) -> int:
    """All suites, or with pytest's arguments those tests. 0 only if every test passed. --long: soak and chaos take half an hour each, endurance an hour."""
    rights.become_root("Testing on a real Slurm and PostgreSQL")
    services.end_on_signals()
    with running.only_one("test"):
        began = time.monotonic()
        _install()
        if LONG in words:
            os.environ.update(LONG_RUNS)
        chosen = [word for word in words if word != LONG]
        outcomes = [_chosen(chosen)] if chosen else list(_all())
        return _sum_up(outcomes, time.monotonic() - began)


def _install() -> None:
    browser = [] if shutil.which("chromium") else ["chromium"]  # Ubuntu has none: there, any on PATH will do
    debian.install([*cluster.packages(), *PACKAGES, *browser, *python.debian_packages()])
    python.install()
    node.install()
    places.folder(LOGS)
    prepare.translations(settings.demo())


def _all() -> Iterator[Outcome]:
    with services.crew() as crew:
        yield _pytest(crew, "Tests on SQLite", UNIT_RUN, _environment())
        with postgres.running(LOGS / "postgres.log") as url:
            env = _environment(DATABASE_URL=url)
            yield _pytest(crew, "The same on PostgreSQL", UNIT_RUN, env)
            with _lanes(crew, env) as whole:
                lanes = ["-m", PARTS, "-n", str(LANES), "--dist=loadscope", "--no-loadscope-reorder"]
                yield _pytest(crew, "Real Slurm, SSH, Redis and browser", lanes, whole, as_root=True)


def _chosen(words: list[str]) -> Outcome:
    """Only the tests that pytest's arguments name; what they need is started."""
    arguments = [word for word in words if word != "--postgres"]
    names_parts = any(part in word for word in arguments for part in ("cluster", "faults", "e2e"))
    if not names_parts and "-m" not in arguments:
        arguments = ["-m", UNITS, *arguments]
    with ExitStack() as needed:
        crew = needed.enter_context(services.crew())
        env = _environment()
        if "--postgres" in words:
            env["DATABASE_URL"] = needed.enter_context(postgres.running(LOGS / "postgres.log"))
        if names_parts:
            _prepare_parts()
            env |= needed.enter_context(_parts(crew, env, places.TEST, MARK))
        return _pytest(crew, "Chosen tests", arguments, env, as_root=names_parts)


@contextmanager
def _lanes(crew: Crew, env: dict[str, str]) -> Iterator[dict[str, str]]:
    """The parts for each of pytest-xdist's processes: tests/environment.py gives it those with its name at the end."""
    _prepare_parts()
    with ExitStack() as needed:
        whole = dict(env)
        for lane in range(LANES):
            state = places.STATE / f"{places.TEST.name}-{lane}"
            own = needed.enter_context(_parts(crew, env, state, f"{MARK}{lane}"))
            whole |= {f"{name}_GW{lane}": value for name, value in own.items()}
        yield whole


def _prepare_parts() -> None:
    say.heading("What the next tests run on")
    prepare.static_files(settings.demo())


@contextmanager
def parts(crew: Crew, env: dict[str, str]) -> Iterator[dict[str, str]]:
    """What tests on a real cluster run on, for whoever measures there."""
    debian.install([*cluster.packages(), *PACKAGES])
    places.folder(LOGS)
    with running.only_one("test"), _parts(crew, env, places.TEST, MARK) as variables:
        yield variables


@contextmanager
def _parts(crew: Crew, env: dict[str, str], state: Path, mark: str) -> Iterator[dict[str, str]]:
    """Redis and a Slurm cluster for the tests, up; the variables that name them."""
    service, url = redis.service(state, "")
    crew.start(service, env)
    with cluster.running(state, f"test_{mark}", f"fp-{mark}-"):  # the demo's users have fp-
        yield {
            "REDIS_URL": url,
            "FIREFLY_TEST_MARK": mark,
            "FIREFLY_TEST_STATE": str(state),
            "CLUSTERS_FILE": str(state / "clusters.toml"),
        }


def _pytest(
    crew: Crew, title: str, arguments: list[str], env: dict[str, str], *, as_root: bool = False
) -> Outcome:
    say.heading(title)
    report = places.TEST / "report.xml"
    report.unlink(missing_ok=True)
    color = ["--color=yes"] if os.isatty(1) else []
    command = [places.program("python"), "-m", "pytest", f"--junitxml={report}", *color, *arguments]
    return Outcome(crew.run(command, env, as_root=as_root), _counts(report))


def _environment(**more: str) -> dict[str, str]:
    """What tests/environment.py does not set by itself."""
    settings = {
        "CLUSTERS_FILE": str(places.TEST / "clusters.toml"),
        "UPLOAD_ROOT": str(places.TEST / "uploads"),
        "ATTACHMENT_ROOT": str(places.TEST / "attachments"),
        "STATIC_ROOT": str(places.STATE / "static"),
        "DATABASE_URL": f"sqlite:///{places.TEST}/db.sqlite3",
        "PYTHONUNBUFFERED": "1",
    }
    return os.environ | settings | more


def _counts(report: Path) -> Counts:
    """What pytest counted; nothing if it did not come so far."""
    if not report.exists():
        return Counts()
    attributes = re.search(r"<testsuite ([^>]*)>", report.read_text())
    told = dict(re.findall(r'(\w+)="(\d+)"', attributes[1])) if attributes else {}
    total, skipped, failures, errors = (
        int(told.get(name, 0)) for name in ("tests", "skipped", "failures", "errors")
    )
    failed = failures + errors
    return Counts(total - failed - skipped, failed, skipped)


def _sum_up(outcomes: list[Outcome], seconds: float) -> int:
    counts = sum((outcome.counts for outcome in outcomes), Counts())
    fine = all(outcome.status == 0 for outcome in outcomes)
    if not fine and not counts.failed:
        print("\nA suite could not run, or had no test: what pytest said is above.")
    print(f"\n{'All tests passed' if fine else 'Tests failed'} after {say.duration(seconds)}.")
    print(f"{counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped", flush=True)
    return 0 if fine else 1
