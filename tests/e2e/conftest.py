"""The whole portal, running, and people with browsers in front of it.

It is brought up once for all tests of this folder: seeded, with web server, worker and clock on the database of this
test run, on real Redis and real Slurm. The tests themselves touch no database: they see what a browser sees.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from io import StringIO
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db.models import Value
from django.db.models.functions import Concat
from playwright.sync_api import Browser, expect, sync_playwright
from pytest_django import DjangoDbBlocker

from jobs.management.commands.seed_demo import PASSWORD
from portal.models import Institution, Lab, Project, User
from tests.cluster.conftest import slurm_cluster as slurm_cluster
from tests.cluster.one_machine import CHECKOUT, SlurmCluster
from tests.e2e.eye import Eye
from tests.e2e.mailbox import Mailbox
from tests.e2e.people import Person
from tests.e2e.site import Site, free_port, programs
from tests.running import environment

PATIENCE = 20_000  # ms for what a page does by itself: two cores carry the browser and a cluster beside it
FAILED = pytest.StashKey[bool]()
QUIETLY = (  # Chromium as root, without a display, and calling nobody
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def static_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static files as the web server gives them out: collected, named by their content, compressed."""
    root = tmp_path_factory.mktemp("static")
    command = [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity=0"]
    subprocess.run(command, cwd=CHECKOUT, env=environment(STATIC_ROOT=str(root)), check=True)
    return root


@pytest.fixture(scope="package")
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """In this folder, all tests share what is in the database: a new portal for each would take too long.

    (It has pytest-django's name for it, by which pytest-django knows that it has to make the database.)
    """
    with django_db_blocker.unblock():
        yield
        call_command("flush", interactive=False, verbosity=0)


@pytest.fixture(scope="package")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Mailbox:
    return Mailbox(tmp_path_factory.mktemp("mails"))


@pytest.fixture(scope="package")
def portal_site(
    slurm_cluster: SlurmCluster,
    static_root: Path,
    mailbox: Mailbox,
    transactional_db: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    logs = tmp_path_factory.mktemp("portal")
    address = f"http://127.0.0.1:{free_port()}"
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    site = seeded(address, logs)
    env = environment(
        CLUSTERS_FILE=str(slurm_cluster.state / "clusters.toml"),
        POSIX_PREFIX=slurm_cluster.prefix,
        UPLOAD_ROOT=str(logs / "uploads"),
        ATTACHMENT_ROOT=str(logs / "attachments"),
        STATIC_ROOT=str(static_root),
        SITE_URL=address,
        EMAIL_URL=f"file:///{mailbox.folder}",
    )
    with programs(address, env, logs):
        yield site
    slurm_cluster.said("scancel", f"--account={site.account}")


def seeded(address: str, logs: Path) -> Site:
    """The demo's people and projects, with accounts of their own in the scheduler: it remembers earlier test runs."""
    call_command("seed_demo", stdout=StringIO())
    mark = secrets.token_hex(3)
    for model in (Institution, Lab, Project):
        model._default_manager.update(account=Concat("account", Value(f"-{mark}")))
    emails = dict(User.objects.values_list("name", "email"))
    account = Project.objects.get(lab__memberships__user__name="Mei Lin").account
    return Site(address, emails, PASSWORD, account, mark, logs)


@pytest.fixture(scope="package")
def chromium(portal_site: Site) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIETLY)
        yield browser
        browser.close()


@pytest.fixture
def in_a_browser(
    chromium: Browser, portal_site: Site, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Person]]:
    """Somebody in front of a fresh browser. What goes wrong in it behind their back fails the test."""
    people: list[Person] = []

    def in_a_browser(name: str) -> Person:
        people.append(Person.with_browser(chromium, portal_site, name))
        return people[-1]

    yield in_a_browser
    if request.node.stash.get(FAILED, False):
        for person in people:
            person.page.screenshot(path=portal_site.logs / f"{request.node.name} {person.name}.png")
    for person in people:
        person.page.context.close()
    troubles = [f"{person.name}: {trouble}" for person in people for trouble in person.troubles]
    assert not troubles, "\n".join(troubles)


@pytest.fixture
def as_person(in_a_browser: Callable[[str], Person]) -> Callable[[str], Person]:
    """`as_person("Mei Lin")`: her browser, logged in."""

    def as_person(name: str) -> Person:
        person = in_a_browser(name)
        person.logs_in()
        return person

    return as_person


@pytest.fixture
def eye_of(slurm_cluster: SlurmCluster) -> Callable[[Person], Eye]:
    pictures = slurm_cluster.state / "screenshots" if os.environ.get("SCREENSHOTS") else None
    if pictures:
        pictures.mkdir(exist_ok=True)
    return lambda person: Eye(person.page, pictures)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the portal's programs wrote last."""
    report = yield
    site = getattr(item, "funcargs", {}).get("portal_site")
    if report.failed:
        item.stash[FAILED] = True
    if report.failed and site:
        report.sections += [(f"{name} ({site.logs})", words) for name, words in site.last_words()]
    return report
