"""Every URL × method × person, walked from the resolver: the answer is the one declared in `tests.every_url`.

Whoever adds an address declares who gets what there, or the first test fails. What is outside somebody's sight is
the same 404 as what does not exist, byte for byte; and whoever is refused changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import time_machine
from django.contrib.admindocs.views import simplify_regex
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounting.models import AllocationRequest
from accounting.usage import record_runs
from jobs.models import Job, Upload
from portal.permissions import REFUSALS
from tests.asking import (
    ask,
    ask_as_told,
    browser_of,
    encoded,
    filled,
    good_body,
    is_tus,
    nonexistent,
    parameters_of,
    person_named,
    undone,
    watching,
)
from tests.belongings import Belongings, World
from tests.every_url import NOBODY, PARAMETERS, PEOPLE, ROWS, Row
from tests.factories import ClusterFactory, PartitionFactory, RunFactory
from tests.pages import words

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PER_REQUEST = re.compile(
    rb"\b[A-Za-z0-9]{64}\b"  # CSRF tokens
    rb"|\b[\w-]{20,}:[\w-]{4,8}:[\w-]{40,}"  # sealed job tokens
    rb"|(?<=\"challenge\": \")[\w-]{43}"  # of security keys
    rb"|(?<=base64,)[\w+/=]+"  # a new authenticator's picture
)
OPEN = (
    "/accounts/2fa/authenticate/",
    "/accounts/3rdparty/signup/",
    "/accounts/confirm-email/<key>/",
    "/accounts/logout/",
    "/accounts/oidc/<provider_id>/login/",
    "/accounts/oidc/<provider_id>/login/callback/",
    "/accounts/password/reset/",
    "/accounts/signup/",
    "/i18n/setlang/",
    "/institutions/apply/",
)  # forms for who is logged out; other 302s lead to the log-in


def addresses(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[str]:
    """Every address of the portal as the table writes it: /jobs/<pk>/."""
    for entry in (resolver or get_resolver()).url_patterns:
        here = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from addresses(entry, here)
        elif isinstance(entry, URLPattern):
            yield re.sub(r"<\w+:", "<", simplify_regex(here))


# ── The table and the resolver ───────────────────────────────────────────────


def test_every_url_has_a_row() -> None:
    declared = {row.address for row in ROWS}
    new = sorted(set(addresses()) - declared)
    assert not new, (
        f"No row says who gets what at {', '.join(new)}. "
        "Add one per method to TABLE in tests/every_url.py, and a good body to tests/asking.py if it takes one."
    )


def test_every_row_has_its_url() -> None:
    gone = sorted({row.address for row in ROWS}.union(PARAMETERS) - set(addresses()))
    assert not gone, f"Nothing answers at {', '.join(gone)} any more. Remove it from tests/every_url.py."


def test_no_row_stands_twice() -> None:
    told = [str(row) for row in ROWS]
    assert len(told) == len(set(told))


# ── Each row ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_person_gets_what_is_declared(row: Row, world: World) -> None:
    url = filled(row.address, world.optics.values(row.address) if parameters_of(row.address) else {})
    wrong: list[str] = []
    for name, status in row.answers.items():
        who = person_named(name, world.people)
        with undone():
            client = browser_of(who)
            with watching() as watch:
                answer = ask_as_told(client, row, url, world.optics, who)
                wrong += [f"{name}: {fault}" for fault in faults(row, name, status, answer, watch.writes)]
                if row.method == "GET":
                    head = client.head(url)
                    if (head.status_code, b"".join(head)) != (status, b""):
                        wrong.append(f"{name}: HEAD gets {head.status_code}")
    assert not wrong


def faults(row: Row, name: str, status: int, answer: Any, writes: list[str]) -> Iterator[str]:
    """What is not as declared, in words."""
    if answer.status_code != status:
        yield f"{answer.status_code} instead of {status}: {answer.content[:300]!r}"
        return
    to_log_in = name == NOBODY and status == 302 and row.address not in OPEN
    if to_log_in and not answer["Location"].startswith("/accounts/login/?next="):
        yield f"sent to {answer['Location']} instead of the log-in"
    if (status >= 400 or to_log_in) and writes:
        yield f"refused, yet it wrote: {writes}"
    if status == 403 and not any(str(sentence) in said(answer) for sentence in REFUSALS.values()):
        yield f"no sentence says why not: {said(answer)!r}"
    if status >= 400 and (row.is_api or is_tus(row)) and not is_problem(answer, status, row.method):
        yield f"no problem document: {answer['Content-Type']} {answer.content[:200]!r}"


def said(answer: Any) -> str:
    if answer["Content-Type"].startswith("application/problem+json"):
        return str(answer.json()["detail"])
    return words(answer)


def is_problem(answer: Any, status: int, method: str) -> bool:
    if method == "HEAD":
        return True
    return bool(answer["Content-Type"] == "application/problem+json" and answer.json()["status"] == status)


def test_a_method_without_a_row_is_refused(world: World) -> None:
    browsers = {name: browser_of(person_named(name, world.people)) for name in (NOBODY, "mei", "otto")}
    for address in sorted({row.address for row in ROWS}):
        check_other_methods(address, world, browsers)


def check_other_methods(address: str, world: World, browsers: dict[str, Client]) -> None:
    declared = {row.method for row in ROWS if row.address == address}
    known = declared | ({"HEAD"} if "GET" in declared else set())
    url = filled(address, world.optics.values(address) if parameters_of(address) else {})
    for method in (method for method in METHODS if method not in known):
        for name, client in browsers.items():
            headers = {"Tus-Resumable": "1.0.0"}
            with undone(), watching() as watch:
                answer = client.generic(method, url, "{}", content_type="application/json", headers=headers)
            told = f"{method} {url} as {name}"
            assert answer.status_code in unknown_method(address, method, name), told
            assert answer.status_code != 302 or answer["Location"].startswith("/accounts/login/?next="), told
            assert not watch.writes, told


def unknown_method(address: str, method: str, name: str) -> tuple[int, ...]:
    """REST framework answers OPTIONS with what an endpoint takes: the same to everybody who is logged in."""
    if name == NOBODY:
        return (302, 401, 405)
    return (200,) if method == "OPTIONS" and address.startswith("/api/") else (405,)


# ── Foreign and nonexistent ──────────────────────────────────────────────────


def test_what_is_foreign_is_like_what_does_not_exist(world: World) -> None:
    browsers = {name: browser_of(who) for name, who in world.people.items()}
    for row in (row for row in ROWS if 404 in row.answers.values() and parameters_of(row.address)):
        check_like_nothing(row, world, browsers)


def check_like_nothing(row: Row, world: World, browsers: dict[str, Client]) -> None:
    values = world.optics.values(row.address)
    first = parameters_of(row.address)[0]
    theirs, nothing = filled(row.address, values), filled(row.address, nonexistent(values, first))
    for name in row.who_gets(404):
        who = world.people[name]
        with undone():
            foreign = ask_as_told(browsers[name], row, theirs, world.optics, who)
            missing = ask_as_told(browsers[name], row, nothing, world.optics, who)
        assert alike(foreign) == alike(missing), f"{row} as {name}"
        assert foreign.status_code == 404, f"{row} as {name}"


@pytest.mark.parametrize("row", [row for row in ROWS if len(parameters_of(row.address)) == 2], ids=str)
def test_a_thing_of_another_one_is_not_below_this_one(row: Row, world: World) -> None:
    """/jobs/<mine>/files/<theirs>/ does not exist, neither for me nor for who may see both."""
    if not row.address.endswith(("/<file_pk>/", "/picture/", "/content/")):
        return
    inner = parameters_of(row.address)[1]
    mine, theirs = world.optics.values(row.address), world.folding.values(row.address)
    mixed, nothing = (
        filled(row.address, {**mine, inner: theirs[inner]}),
        filled(row.address, {**mine, inner: 10**9}),
    )
    for name in ("mei", "otto", "sam"):
        client = browser_of(world.people[name])
        foreign, missing = ask(client, row.method, mixed), ask(client, row.method, nothing)
        assert alike(foreign) == alike(missing)
        assert foreign.status_code == 404 or (name == "sam" and foreign.status_code == 403)


def alike(answer: Any) -> tuple[int, str, bytes]:
    """An answer without what is drawn anew for each request."""
    body = b"".join(answer)
    return answer.status_code, answer.get("Content-Type", ""), PER_REQUEST.sub(b"", body)


# ── Ids in bodies ────────────────────────────────────────────────────────────


def posted(world: World, name: str, address: str, **changed: Any) -> Any:
    """The good body, changed, sent by a person who may use the form; nothing of it lasts."""
    row = next(row for row in ROWS if (row.address, row.method) == (address, "POST"))
    who = world.people[name]
    url = filled(address, world.optics.values(address) if parameters_of(address) else {})
    with undone():
        before = (Job.objects.count(), AllocationRequest.objects.count())
        answer = ask(browser_of(who), "POST", url, {**(good_body(row, world.optics, who) or {}), **changed})
        assert (Job.objects.count(), AllocationRequest.objects.count()) == before
    return answer


def test_ids_of_strangers_in_a_body_are_like_none_at_the_api(world: World) -> None:
    theirs, no_upload = world.folding, str(uuid4())
    upload = str(theirs.files["Otto Brandt"].pk)
    cases: list[tuple[str, str, str, str | list[str], str | list[str]]] = [
        ("mei", "/api/v1/jobs/", "project", theirs.project.slug, "nowhere"),
        ("ivo", "/api/v1/jobs/", "project", theirs.project.slug, "nowhere"),
        ("mei", "/api/v1/quote/", "project", theirs.project.slug, "nowhere"),
        ("ivo", "/api/v1/requests/", "project", theirs.project.slug, "nowhere"),
        ("ada", "/api/v1/requests/", "project", theirs.project.slug, "nowhere"),
        ("mei", "/api/v1/jobs/", "script", upload, no_upload),
        ("ivo", "/api/v1/jobs/", "script", upload, no_upload),
        ("mei", "/api/v1/jobs/", "inputs", [upload], [no_upload]),
    ]
    for name, address, field, foreign, nothing in cases:
        one = posted(world, name, address, **{field: foreign})
        other = posted(world, name, address, **{field: nothing})
        assert (one.status_code, set(one.json()["errors"])) == (400, {field}), (name, address, field)
        assert without(foreign, one.content) == without(nothing, other.content), (name, address, field)


def without(given: str | list[str], content: bytes) -> bytes:
    """What is told, without repeating what was given."""
    text = given if isinstance(given, str) else given[0]
    return content.replace(text.encode(), b"")


def test_an_upload_of_the_same_lab_is_not_ones_own_either(world: World) -> None:
    of_ivo = str(world.optics.files["Ivo Petrov"].pk)
    assert posted(world, "mei", "/api/v1/jobs/", script=of_ivo).status_code == 400
    assert posted(world, "mei", "/jobs/new/", uploads=[of_ivo], script=of_ivo).status_code == 422


def test_ids_of_strangers_in_a_form_are_like_none(world: World) -> None:
    theirs = world.folding
    upload = str(theirs.files["Otto Brandt"].pk)
    for address, status in (("/jobs/new/", 422), ("/jobs/new/check/", 200)):
        for field, foreign, nothing in (
            ("project", theirs.project.pk, NOTHING),
            ("uploads", [upload], [str(uuid4())]),
            ("script", upload, str(uuid4())),
        ):
            if field == "script" and address == "/jobs/new/":
                continue  # a job's only file needs no choice: nothing foreign can be chosen
            one, other = (posted(world, "mei", address, **{field: value}) for value in (foreign, nothing))
            assert (one.status_code, words(one)) == (status, words(other)), (address, field)
            assert "Hidden" not in words(one)


NOTHING = 987_654_321


def test_a_closed_cluster_is_like_none(world: World) -> None:
    closed = PartitionFactory.create(
        cluster=ClusterFactory.create(name="closed", accepts_jobs=False), name="shut"
    )
    for address, body in (
        ("/api/v1/jobs/", {"cluster": "closed", "partition": "shut"}),
        ("/api/v1/quote/", {"cluster": "closed", "partition": "shut"}),
        ("/api/v1/requests/", {"cluster": "closed"}),
    ):
        answer = posted(world, "ivo", address, **body)
        nothing = posted(world, "ivo", address, **dict.fromkeys(body, "nowhere"))
        assert (answer.status_code, set(answer.json()["errors"])) == (400, set(nothing.json()["errors"]))
    assert posted(world, "mei", "/jobs/new/", partition=closed.pk).status_code == 422
    for address in ("/projects/<slug>/request/", "/requests/<pk>/edit/"):
        with time_machine.travel(timezone.now(), tick=False):  # the page says how long ago it was saved
            one, other = (posted(world, "ivo", address, cluster=pk) for pk in (closed.cluster_id, NOTHING))
        assert (one.status_code, words(one)) == (200, words(other))


# ── Ids in the address's query ───────────────────────────────────────────────


@time_machine.travel(
    datetime(2026, 6, 15, 12, tzinfo=UTC), tick=False
)  # pages say “just now” and “a second ago”
def test_ids_of_strangers_in_a_query_are_like_none(world: World) -> None:
    theirs = world.folding
    project, job, person = theirs.project, theirs.job, world.people["otto"]
    for name in ("mei", "ivo"):
        client = browser_of(world.people[name])
        for address, key, foreign, nothing in (
            ("/jobs/", "project", project.slug, "nowhere"),
            ("/jobs/", "owner", person.pk, NOTHING),
            ("/jobs/", "q", job.scheduler_id, "12345678"),
            ("/jobs/new/", "project", project.slug, "nowhere"),
            ("/jobs/new/", "from", job.pk, NOTHING),
            ("/people/", "q", person.email, "nobody@example.com"),
            ("/projects/", "q", "helices", "nothing-like-it"),
            ("/jobs/new/expected/", "project", project.pk, NOTHING),
            ("/api/v1/jobs/", "project", project.slug, "nowhere"),
            ("/api/v1/jobs/", "owner", person.pk, NOTHING),
            ("/api/v1/jobs/", "q", job.scheduler_id, "12345678"),
        ):
            one, other = (client.get(address, {key: value}) for value in (foreign, nothing))
            assert one.status_code == other.status_code, (name, address, key)
            assert without_query(one, key, foreign) == without_query(other, key, nothing), (
                name,
                address,
                key,
            )


def without_query(answer: Any, key: str, value: Any) -> bytes:
    """What is told, without repeating what was asked: in a field, in the addresses of other pages and orders."""
    told = alike(answer)[2]
    for repeated in (urlencode({key: value}), f'value="{value}"'):
        told = told.replace(repeated.encode(), b"")
    return told


def test_a_stranger_s_job_can_not_be_copied(world: World) -> None:
    assert (
        browser_of(world.people["mei"]).get("/jobs/new/", {"from": world.folding.job.pk}).status_code == 404
    )


# ── What is listed and exported ──────────────────────────────────────────────


THEIRS = (
    "Hidden helices",
    "hidden-helices",
    "Southfield",
    "Protein Folding",
    "Otto",
    "Vera",
    "otto@",
    "vera@",
)
OURS = ("Squeezed light", "squeezed-light", "Northlake", "Quantum Optics", "Mei", "Petrov", "mei@", "ivo@")


@pytest.fixture
def used(world: World) -> World:
    """Both labs used GPUs last month, by three people each: enough to be named in the programme's report."""
    month_ago = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(days=9)
    runs = [
        RunFactory.create(
            account=things.project.account, user=f"{things.project.slug}-{n}", start=month_ago.astimezone(UTC)
        )
        for things in (world.optics, world.folding)
        for n in range(3)
    ]
    record_runs(runs, cluster=world.optics.allocation.cluster, as_of=datetime.now(UTC), in_queue=set())
    return world


def pages_seen(client: Client, things: Belongings) -> Iterator[tuple[str, str]]:
    """Every address that this person gets, with what it says; not what a link in somebody's mail opens."""
    for row in (row for row in ROWS if row.method == "GET" and "/<key>/" not in row.address):
        url = filled(row.address, things.values(row.address) if parameters_of(row.address) else {})
        with undone():
            answer = client.get(url)
            if answer.status_code == 200:
                # Without tokens: in one of some hundred, three letters of somebody's name stand by chance.
                yield url, PER_REQUEST.sub(b"", b"".join(answer)).decode(errors="replace")


@pytest.mark.parametrize("name", ["mei", "ivo", "ada", "fay"])
def test_nothing_of_the_other_institution_is_on_any_page_list_or_export(name: str, used: World) -> None:
    found = {
        (url, word)
        for url, text in pages_seen(browser_of(used.people[name]), used.optics)
        for word in THEIRS
        if word in text
    }
    assert not found


@pytest.mark.parametrize("name", ["otto", "vera"])
def test_nor_the_other_way_round(name: str, used: World) -> None:
    found = {
        (url, word)
        for url, text in pages_seen(browser_of(used.people[name]), used.folding)
        for word in OURS
        if word in text
    }
    assert not found


def test_the_funder_reads_what_it_pays_and_nobody_s_name(used: World) -> None:
    seen = dict(pages_seen(browser_of(used.people["fay"]), used.optics))
    for url in ("/reports/", "/reports/gpu-hours.csv", "/api/v1/usage/"):
        assert "Northlake University" in seen[url]
    people = {
        (url, word)
        for url, text in seen.items()
        if "/confirm-email/" not in url  # a sealed link opens for whoever holds it
        for word in ("Mei", "Petrov", "Squeezed light", "fringes.png")
        if word in text
    }
    assert not people


def test_the_centre_sees_both(used: World) -> None:
    """Or the tests above would find nothing whatever is shown."""
    seen = dict(pages_seen(browser_of(used.people["sam"]), used.optics))
    for url in ("/jobs/", "/projects/", "/people/", "/reports/gpu-hours.csv", "/api/v1/jobs/", "/api/v1/projects/",
                "/api/v1/allocations/", "/api/v1/requests/", "/api/v1/usage/"):  # fmt: skip
        assert any(word in seen[url] for word in THEIRS), url
        assert any(word in seen[url] for word in OURS), url


# ── Requests of other sites ──────────────────────────────────────────────────


def test_no_other_site_can_do_it_in_ones_name(world: World) -> None:
    for row in (row for row in ROWS if row.method in ("POST", "PATCH", "DELETE", "PUT")):
        who = world.people[next(name for name in PEOPLE if row.answers[name] < 400)]
        url = filled(row.address, world.optics.values(row.address) if parameters_of(row.address) else {})
        careful = Client(enforce_csrf_checks=True)
        careful.force_login(who)
        with watching() as watch:
            answer = ask_as_told(careful, row, url, world.optics, who)
        assert (answer.status_code, watch.writes) == (403, []), str(row)


def test_the_csrf_test_bites(world: World) -> None:
    """With its token the same form is taken."""
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(world.people["mei"])
    token = careful.get("/jobs/new/").cookies["csrftoken"].value
    body = encoded({"csrfmiddlewaretoken": token}, "form")
    assert ask(careful, "POST", f"/jobs/{world.optics.job.pk}/cancel/", body).status_code == 302
    assert Upload.objects.exists()
