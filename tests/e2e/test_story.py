"""From "a university heard of us" to a renewal: the whole story, by everybody in it, in their own browsers.

An institution applies and is registered, a PI comes and brings two members, asks for hours, is asked back, is granted a
part by two approvers, gets a supplement, and renews what has expired. Somebody of another institution sees none of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from django.db import connection
from django.urls import resolve
from django.utils import timezone
from playwright.sync_api import Locator, expect

from accounting.models import Allocation
from portal.celery import app
from tests.asking import NO_ID, filled, parameters_of
from tests.e2e.eye import Eye
from tests.e2e.joining import (
    DOMAIN,
    INSTITUTION,
    LAB,
    applies,
    arrives,
    email_of,
    here,
    invites,
    opens_a_lab,
    registers,
)
from tests.e2e.mailbox import Mailbox
from tests.e2e.people import Person, view_of
from tests.every_url import ROWS

pytestmark = pytest.mark.e2e

PROJECT = "Small tumours in large scans"
HOURS = re.compile("GPU-hours on a100(?!-)")  # not of the partition a100-preemptible
NOTHING = {"pk": NO_ID, "slug": "nowhere"}


def test_the_whole_story(
    in_a_browser: Callable[[str], Person],
    as_person: Callable[[str], Person],
    mailbox: Mailbox,
    eye_of: Callable[[Person], Eye],
) -> None:
    ida, lena, kofi, rui = map(in_a_browser, ("Ida Norberg", "Lena Vogt", "Kofi Adjei", "Rui Santos"))
    sam, ann, vera = map(as_person, ("Sam Fischer", "Ann Keller", "Vera Petrova"))

    applies(ida, mailbox, eye_of(ida))
    institution = registers(sam, mailbox)
    arrives(ida, mailbox, eye_of(ida))
    lab = opens_a_lab(ida, institution, lena)
    arrives(lena, mailbox, eye_of(lena))
    invites(lena, lab, (kofi, rui), eye_of(lena))
    for member in (kofi, rui):
        arrives(member, mailbox, eye_of(member))

    project, request = asks_for_hours(lena)
    returns_with_comments(ann, mailbox)
    answers_the_comments(lena, mailbox, eye_of(lena))
    proposes(sam, mailbox, asked="20 000", part="12 000")
    cannot_be_the_second(sam, request)
    agrees(ann, mailbox, "12 000", eye_of(ann))
    reads_the_letter(lena, mailbox, "12 000")
    has_hours(kofi, project, "12 000")

    allocation = allocation_of(lena, project)
    supplement = asks_for_more(lena, allocation)
    grants(sam, mailbox, asked="1 500", part="1 000")
    has_hours(kofi, project, "13 000")

    passes(allocation, days=121)
    renewal = asks_for_a_renewal(lena, allocation, eye_of(lena))
    passes(allocation, days=20)
    sees_hours_expire(lena, allocation, eye_of(lena))
    has_no_hours(kofi, project)
    proposes(sam, mailbox, asked="15 000", part="11 000")
    agrees(ann, mailbox, "11 000", eye_of(ann))
    clock_rings()
    reads_the_end(lena, mailbox, allocation, eye_of(lena))
    has_hours(kofi, project, "13 600")  # 11 000, and a fifth of the 13 000 before

    person = person_page(lena, kofi)
    places = (
        institution,
        lab,
        person,
        project,
        request,
        supplement,
        renewal,
        allocation,
        allocation_of(lena, project),
    )
    finds_nothing(vera, places)
    meets_nobody(vera, (INSTITUTION, DOMAIN, LAB, PROJECT, *(one.name for one in (ida, lena, kofi, rui))))


# ── The way to hours ─────────────────────────────────────────────────────────


def asks_for_hours(lena: Person) -> tuple[str, str]:
    """A project is proposed, and hours are asked for it: first a draft, then sent. Both pages."""
    lena.follows("Requests")
    lena.follows("Propose a project")
    page = lena.page
    page.get_by_label("Title").fill(PROJECT)
    page.get_by_label("Abstract").fill("Finding tumours of a few millimetres in scans of the whole body.")
    page.get_by_label("Field of science").select_option("3.2")
    lena.presses("Go on to the GPU-hours")
    wishes(lena, hours="24000", why="We need many runs.")
    page.get_by_label("Until").fill(in_days(120))
    lena.presses("Save for later")
    lena.reads("The centre doesn't see it before it is sent.")
    request = here(lena)
    lena.presses("Send to the centre")
    lena.reads("The request is with the centre")
    page.get_by_role("region", name="Application").get_by_role("link", name=PROJECT).click()
    lena.reads("This project is proposed.")
    return here(lena), request


def returns_with_comments(ann: Person, mailbox: Mailbox) -> None:
    opens_mail(ann, mailbox, "asks for 24 000 GPU-hours")
    page = ann.page
    page.get_by_text("Comments beside fields").click()
    page.locator("#field-comments").get_by_label("GPU-hours").fill(
        "How many runs, of how many GPUs and hours?"
    )
    page.get_by_label("Comment to the lab").fill("A sound plan. One thing is missing.")
    ann.presses("Return for changes")
    ann.reads(f"The request for “{PROJECT}” is back with its lab, with your comment.")


def answers_the_comments(lena: Person, mailbox: Mailbox, eye: Eye) -> None:
    opens_mail(lena, mailbox, "The centre asks for changes")
    eye.looks("story-returned")
    lena.follows("Change")
    lena.reads("A sound plan. One thing is missing.")
    lena.reads("How many runs, of how many GPUs and hours?")
    eye.looks("story-change")
    wishes(lena, hours="20000", why="Fifty runs of 8 GPUs for 50 hours.")
    lena.presses("Send to the centre")
    lena.reads("The request is with the centre")


def proposes(sam: Person, mailbox: Mailbox, *, asked: str, part: str) -> None:
    """Above the threshold, the first approval grants nothing yet."""
    approves(sam, mailbox, asked=asked, part=part)
    sam.reads(f"{part} GPU-hours for “{PROJECT}” are proposed. A second approver has to agree")


def grants(sam: Person, mailbox: Mailbox, *, asked: str, part: str) -> None:
    approves(sam, mailbox, asked=asked, part=part)
    sam.reads(f"{part} GPU-hours are granted to “{PROJECT}”")


def approves(sam: Person, mailbox: Mailbox, *, asked: str, part: str) -> None:
    opens_mail(sam, mailbox, f"asks for {asked} GPU-hours")
    sam.page.get_by_label("GPU-hours to grant").fill(part)
    sam.page.get_by_label("Comment to the lab").fill("The second half after a look at the first.")
    sam.presses(f"Approve {part} of {asked} GPU-hours")


def cannot_be_the_second(sam: Person, request: str) -> None:
    sam.opens(request)
    sam.reads("You can't decide on this one")
    expect(sam.page.get_by_role("button", name="Agree to")).to_have_count(0)


def agrees(ann: Person, mailbox: Mailbox, hours: str, eye: Eye) -> None:
    opens_mail(ann, mailbox, f"{hours} GPU-hours for “{PROJECT}” need a second approver")
    eye.looks("story-second-approval")
    ann.presses(f"Agree to {hours} GPU-hours")
    ann.reads(f"{hours} GPU-hours are granted to “{PROJECT}”")


def reads_the_letter(lena: Person, mailbox: Mailbox, hours: str) -> None:
    letter = mailbox.awaits(email_of(lena), f"{hours} GPU-hours are granted").link
    assert lena.page.request.get(letter).body().startswith(b"%PDF")


def asks_for_more(lena: Person, allocation: str) -> str:
    """The supplement's page."""
    lena.opens(allocation)
    lena.follows("Ask for more hours")
    wishes(lena, hours="1500", why="Thirty more runs at half the size, for the ablations.")
    lena.presses("Send to the centre")
    lena.reads("The request is with the centre")
    return here(lena)


# ── Expiry and renewal ───────────────────────────────────────────────────────


def passes(allocation: str, *, days: int) -> None:
    """Time passes for an allocation: its days are moved into the past. Web server, worker and clock all go by today's
    date, which no test can move for them; what becomes of the allocation they then do themselves."""
    number, past = resolve(allocation).kwargs["pk"], timedelta(days=days)
    # In a thread of its own: Playwright's loop runs in this one, and Django refuses it the database.
    with ThreadPoolExecutor(1) as aside:
        aside.submit(move_into_the_past, number, past).result()


def move_into_the_past(number: int, past: timedelta) -> None:
    one = Allocation.objects.get(pk=number)
    one.start, one.end, one.usable_until = one.start - past, one.end - past, one.usable_until - past
    one.save(update_fields=["start", "end", "usable_until"])
    connection.close()


def clock_rings() -> None:
    """As beat does each hour; nobody waits so long. If it was faster, there is nothing left to do."""
    app.send_task("accounting.tasks.keep_allocations")


def asks_for_a_renewal(lena: Person, allocation: str, eye: Eye) -> str:
    """In the days of grace; not without a report on what was done. The request's page."""
    lena.opens(allocation)
    lena.reads("the 13 000 GPU-hours left can be used until")
    eye.looks("story-grace")
    lena.follows("Ask for a renewal")
    wishes(lena, hours="15000", why="A second year: thirty runs of 8 GPUs for 62 hours.")
    lena.page.get_by_label("Until").fill(in_days(200))
    lena.presses("Send to the centre")
    lena.reads("Write the progress report on the allocation before; then send the renewal.")
    eye.looks("story-report-first")
    lena.follows("Write the progress report")
    lena.page.get_by_label("What was done with the hours").fill(
        "We labelled the scans and trained the first network."
    )
    lena.presses("Hand in the report")
    lena.reads("The report is kept.")
    eye.looks("story-report-kept")
    lena.opens("/")
    lena.follows(f"Your request for {PROJECT} is not sent yet")
    lena.presses("Send to the centre")
    lena.reads("The request is with the centre")
    return here(lena)


def sees_hours_expire(lena: Person, allocation: str, eye: Eye) -> None:
    """Not before the renewal is decided: a part of them may go over to it."""
    lena.opens(allocation)
    lena.reads("what is left expires as soon as no job holds any of it and no renewal is asked for")
    eye.looks("story-expired")


def reads_the_end(lena: Person, mailbox: Mailbox, allocation: str, eye: Eye) -> None:
    """A fifth of what was granted went over to the renewal, the rest expired."""
    opens_mail(lena, mailbox, f"{PROJECT}: the GPU-hours have ended")
    lena.opens(allocation)
    expect(state(lena)).to_have_text("expired and settled")
    story = lena.page.get_by_role("region", name="What happened")
    expect(story).to_contain_text("2 600")
    expect(story).to_contain_text("10 400")
    eye.looks("story-settled")


# ── The others ───────────────────────────────────────────────────────────────


def finds_nothing(stranger: Person, places: Iterable[str]) -> None:
    """Every address of the story, on the pages and in the API, answers as one that leads nowhere, to the byte."""
    addresses = [*below(places)]
    assert len(addresses) > 40
    for address, nowhere in addresses:
        answer = stranger.finds(address)
        assert answer[0] == 404, address
        assert answer == stranger.finds(nowhere), address


def below(places: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each address of the table that begins with a place of the story, and the same address of nothing."""
    for place in places:
        found = resolve(place)
        route = re.sub(r"<\w+:", "<", f"/{found.route}")
        for row in ROWS:
            begins = row.address.removeprefix("/api/v1").startswith(route)
            if begins and row.method == "GET" and {*parameters_of(row.address)} == {*found.kwargs}:
                yield filled(row.address, found.kwargs), filled(row.address, NOTHING)


def meets_nobody(stranger: Person, words: Iterable[str]) -> None:
    """No page to which a link leads says a word of it."""
    for path in stranger.walks(alike=view_of):
        html = stranger.page.content().lower()
        assert not [word for word in words if word.lower() in html], path


# ── What they do again and again ─────────────────────────────────────────────


def opens_mail(person: Person, mailbox: Mailbox, about: str) -> None:
    """Open the link of the newest mail about it."""
    address = person.site.emails.get(person.name) or email_of(person)
    person.page.goto(mailbox.awaits(address, about).link)


def wishes(lena: Person, *, hours: str, why: str) -> None:
    lena.page.get_by_label(HOURS).fill(hours)
    lena.page.get_by_label("What the hours are for").fill(why)


def in_days(days: int) -> str:
    day: date = timezone.now().date() + timedelta(days=days)
    return day.isoformat()


def allocation_of(person: Person, project: str) -> str:
    """The page of the allocation whose hours the project has now."""
    person.opens(project)
    person.follows("GPU-hours on Firefly")
    return here(person)


def has_hours(person: Person, project: str, hours: str) -> None:
    person.opens(project)
    person.reads(f"{hours} of {hours} GPU-hours left until")


def has_no_hours(person: Person, project: str) -> None:
    person.opens(project)
    person.reads("No GPU-hours at present")


def person_page(lena: Person, member: Person) -> str:
    lena.opens("/people/")
    lena.follows(member.name)
    return here(lena)


def state(person: Person) -> Locator:
    return person.page.locator(".state").first
