"""The people and places that every test knows, and a world without network.

Northlake University has the lab Quantum Optics: ivo leads it, mei works in it, ada looks after the institution.
sam is the centre's staff, ann an approver, fay reads reports for the National Science Fund, which pays for
ivo's project. otto works at another institution: he is the stranger; vera leads his lab.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from celery import Task
from django.core.management.color import Style
from django.db import connections
from django.test import Client
from pytest_django.fixtures import Settings
from xdist.scheduler import LoadScopeScheduling

from accounting.models import Allocation, Cluster, Partition
from accounting.reports import kept
from jobs import failover, kept_logins
from portal.models import Funder, Institution, Lab, Project, Role, TermsAcceptance, User
from tests.belongings import World, belongings, touch_upload
from tests.factories import (
    AllocationFactory,
    ClusterFactory,
    FunderFactory,
    InstitutionFactory,
    LabFactory,
    MembershipFactory,
    PartitionFactory,
    ProjectFactory,
    TermsFactory,
    UserFactory,
)
from tests.pages import browser


def pytest_configure() -> None:
    """Told to end is like Ctrl-C: the programs that a test has started end with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


# ── Side by side ─────────────────────────────────────────────────────────────


LONGEST = (
    "tests/cluster/test_soak.py",
    "tests/cluster/test_sums_equal_sreport.py",
    "tests/faults/test_chaos.py",
)


class InOneProcess(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist is untyped
    """What runs in one process where several share the tests: a file, and all that share the running portal of tests/e2e."""

    def _split_scope(self, nodeid: str) -> str:
        return "e2e" if nodeid.startswith("tests/e2e/") else _file(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    return InOneProcess(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins: the browser, and then what waits for the clock."""

    def turn(item: pytest.Item) -> tuple[bool, int]:
        file, last = _file(item.nodeid), len(LONGEST)
        return not file.startswith("tests/e2e/"), LONGEST.index(file) if file in LONGEST else last

    items.sort(key=turn)


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


# ── The world ────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A database for each process of pytest-xdist. SQLite's is a file: threads of one test need connections of their own."""
    settings = connections["default"].settings_dict
    if settings["ENGINE"] == "django.db.backends.sqlite3":
        settings["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture(scope="session", autouse=True)
def emptying_passes_by_append_only() -> Iterator[None]:
    """Tests with real transactions end by emptying all tables, which the append-only triggers refuse.

    Around that one act they are taken away and put back.
    """
    connection = connections["default"]
    flush = connection.ops.sql_flush
    triggers = {
        "sqlite": "SELECT 'DROP TRIGGER ' || name, sql FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass), pg_get_triggerdef(oid)"
        " FROM pg_trigger WHERE tgname LIKE '%not_emptied'",
    }[connection.vendor]

    def sql_flush(style: Style, tables: list[str], **options: bool) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(triggers)
            found = cursor.fetchall()
        return [
            *(drop for drop, _make in found),
            *flush(style, tables, **options),
            *(make for _drop, make in found),
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection.ops, "sql_flush", sql_flush)
        yield


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """Each test begins with another database."""
    kept.forget()
    failover.forget()
    kept_logins.forget()


@pytest.fixture(autouse=True)
def plain_settings(settings: Settings, tmp_path: Path) -> None:
    """No collected static files, no slow password hash, uploads in a folder of this test."""
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.UPLOAD_ROOT = tmp_path / "uploads"
    settings.ATTACHMENT_ROOT = tmp_path / "attachments"


@dataclass
class Bell:
    """The doorbells that were rung: (task name, arguments), in order. None of them ran."""

    rings: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def rang(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for task, arguments in self.rings if task == name]


@pytest.fixture(autouse=True)
def bell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bell:
    """No test reaches a broker. Rings come on commit: use django_capture_on_commit_callbacks(execute=True).

    Tests marked `cluster` or `e2e` have a real broker, and real rings.
    """
    bell = Bell()

    def apply_async(task: Task[Any, Any], args: tuple[Any, ...] = (), *_: Any, **__: Any) -> None:
        bell.rings.append((task.name or "", tuple(args)))

    if not any(request.node.get_closest_marker(mark) for mark in ("cluster", "e2e")):
        monkeypatch.setattr(Task, "apply_async", apply_async)
    return bell


@pytest.fixture
def no_redis(settings: Settings) -> None:
    """Also where tests that need one run beside."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"  # nobody listens there


@pytest.fixture
def client_for() -> Callable[[User], Client]:
    """`client_for(mei)`: a browser in which mei is logged in."""
    return browser


# ── Places ───────────────────────────────────────────────────────────────────


@pytest.fixture
def northlake(db: None) -> Institution:
    return InstitutionFactory.create(name="Northlake University", slug="northlake")


@pytest.fixture
def optics(northlake: Institution) -> Lab:
    return LabFactory.create(institution=northlake, name="Quantum Optics", slug="optics")


@pytest.fixture
def southfield(db: None) -> Institution:
    return InstitutionFactory.create(name="Southfield Institute", slug="southfield", country="CN")


@pytest.fixture
def folding(southfield: Institution) -> Lab:
    return LabFactory.create(institution=southfield, name="Protein Folding", slug="folding")


@pytest.fixture
def fund(db: None) -> Funder:
    return FunderFactory.create(name="National Science Fund", slug="nsf")


# ── People ───────────────────────────────────────────────────────────────────


def person(name: str, role: Role, **place: Any) -> User:
    user = UserFactory.create(name=name, email=f"{name.split()[0].lower()}@example.org")
    MembershipFactory.create(user=user, role=role, **place)
    return user


@pytest.fixture
def mei(optics: Lab) -> User:
    return person("Mei Lin", Role.MEMBER, lab=optics)


@pytest.fixture
def ivo(optics: Lab) -> User:
    return person("Ivo Petrov", Role.PI, lab=optics)


@pytest.fixture
def ada(northlake: Institution) -> User:
    return person("Ada Okafor", Role.INSTITUTION_ADMIN, institution=northlake)


@pytest.fixture
def sam(db: None) -> User:
    return person("Sam Weber", Role.STAFF)


@pytest.fixture
def ann(db: None) -> User:
    return person("Ann Larsen", Role.APPROVER)


@pytest.fixture
def fay(fund: Funder) -> User:
    return person("Fay Moreau", Role.FUNDER, funder=fund)


@pytest.fixture
def otto(folding: Lab) -> User:
    """The stranger: a member of a lab of another institution."""
    return person("Otto Brandt", Role.MEMBER, lab=folding)


@pytest.fixture
def vera(folding: Lab) -> User:
    """Leads the stranger's lab."""
    return person("Vera Chen", Role.PI, lab=folding)


# ── What is lent ─────────────────────────────────────────────────────────────


@pytest.fixture
def firefly(db: None) -> Cluster:
    return ClusterFactory.create(name="firefly", title="Firefly")


@pytest.fixture
def a100(firefly: Cluster) -> Partition:
    """4 nodes × 8 GPUs; an hour costs an hour."""
    return PartitionFactory.create(cluster=firefly, name="a100", factor=Decimal(1))


@pytest.fixture
def a100_preemptible(firefly: Cluster) -> Partition:
    """The same nodes at half the price."""
    return PartitionFactory.create(
        cluster=firefly, name="a100-preemptible", tier=Partition.Tier.PREEMPTIBLE, factor=Decimal("0.5")
    )


@pytest.fixture
def project(optics: Lab, fund: Funder) -> Project:
    return ProjectFactory.create(lab=optics, funder=fund, title="Squeezed light", slug="squeezed-light")


@pytest.fixture
def allocation(
    project: Project, firefly: Cluster, a100: Partition, a100_preemptible: Partition
) -> Allocation:
    """5,000 GPU-hours of firefly for the project, from a month ago for seven months."""
    return AllocationFactory.create(project=project, cluster=firefly, gpu_hours=5000)


# ── Everything at once ───────────────────────────────────────────────────────


@pytest.fixture
def world(
    mei: User, ivo: User, ada: User, sam: User, ann: User, fay: User, otto: User, vera: User,
    allocation: Allocation, a100: Partition, folding: Lab,
) -> World:  # fmt: skip
    """Two labs of two institutions, each with one thing of each kind."""
    ada.email = "ada@northlake.example"  # so that she may ask to join its labs
    ada.save()
    EmailAddress.objects.filter(user=ada).update(email=ada.email)
    Institution.objects.filter(slug="northlake").update(mail_domain="northlake.example")
    theirs = AllocationFactory.create(
        project=ProjectFactory.create(lab=folding, title="Hidden helices", slug="hidden-helices"),
        cluster=allocation.cluster,
    )
    people = {user.name.split()[0].lower(): user for user in (mei, ivo, ada, sam, ann, fay, otto, vera)}
    terms = TermsFactory.create()
    for user in people.values():
        TermsAcceptance.objects.create(user=user, terms=terms)
    newcomer = UserFactory.create(name="Rita Gomez")
    world = World(
        people,
        belongings(mei, ivo, ada, allocation, a100),
        belongings(otto, vera, newcomer, theirs, a100),
    )
    touch_upload(world.optics.upload)
    touch_upload(world.folding.upload)
    return world
