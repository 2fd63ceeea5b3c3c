"""Calls: open until a deadline, kept by staff, read by everybody who can ask, decided together."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounting.actions import requests
from accounting.actions.missing import Unfinished
from accounting.models import AllocationRequest, Call, Cluster
from portal.models import AuditEvent, Project, User
from tests.factories import AllocationRequestFactory, CallFactory, ReviewFactory
from tests.pages import browser, queries_of, words

LIST = "/calls/"
HOURS = 3600


@pytest.fixture
def call(firefly: Cluster, sam: User) -> Call:
    return CallFactory.create(cluster=firefly, title="Spring call", created_by=sam, gpu_seconds=5000 * HOURS)


def typed(cluster: Cluster, **other: str) -> dict[str, str]:
    today = timezone.now().date()
    return {
        "title": "Autumn call",
        "text": "For large runs.",
        "cluster": str(cluster.pk),
        "gpu_hours": "40 000",
        "opens_on": str(today),
        "closes_on": str(today + timedelta(days=20)),
    } | other


def test_staff_make_one_and_pis_read_it(sam: User, ivo: User, firefly: Cluster) -> None:
    told = words(browser(sam).post("/calls/new/", typed(firefly), follow=True))
    assert "The call “Autumn call” is there" in told
    call = Call.objects.get()
    assert (call.gpu_seconds, call.is_open, call.created_by) == (40_000 * HOURS, True, sam)
    assert timezone.localtime(call.closes_at).date() == timezone.now().date() + timedelta(days=21)
    page = words(browser(ivo).get(LIST))
    assert "Autumn call" in page and "For large runs." in page and "40 000 GPU-h" in page


def test_the_lab_reads_open_ones_only_the_centre_all(
    call: Call, sam: User, ivo: User, firefly: Cluster
) -> None:
    now = timezone.now()
    CallFactory.create(title="Over", cluster=firefly, opens_at=now - timedelta(days=40))
    CallFactory.create(title="To come", cluster=firefly, opens_at=now + timedelta(days=4))
    lab, centre = words(browser(ivo).get(LIST)), words(browser(sam).get(LIST))
    assert "Spring call" in lab and "Over" not in lab and "To come" not in lab
    assert "Spring call" in centre and "Over" in centre and "not open yet" in centre


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("title", "", "Give the call a title"),
        ("title", "x" * 3000, "at most 200 characters"),
        ("text", "a\0b", "Null characters are not allowed"),
        ("cluster", "9" * 30, "Choose one of the clusters"),
        ("gpu_hours", "1e400", "Type the hours in digits"),
        ("opens_on", "0001-01-01", "too long ago"),
        ("closes_on", "2001-01-01", "before the first one"),
        ("closes_on", "9999-12-31", "too far away"),
    ],
)
def test_a_bad_form_says_why(sam: User, firefly: Cluster, field: str, value: str, sentence: str) -> None:
    answer = browser(sam).post("/calls/new/", typed(firefly) | {field: value})
    assert (answer.status_code, sentence in words(answer)) == (200, True)
    assert not Call.objects.exists()


def test_staff_change_and_close_it(sam: User, call: Call) -> None:
    url = f"/calls/{call.pk}/edit/"
    assert 'value="5000"' in browser(sam).get(url).content.decode()
    browser(sam).post(url, typed(call.cluster, title="Later call"))
    call.refresh_from_db()
    assert call.title == "Later call"
    told = words(browser(sam).post(f"/calls/{call.pk}/close/", follow=True))
    assert "takes no more requests" in told
    call.refresh_from_db()
    assert not call.is_open
    assert "This call is not open" in words(browser(sam).post(f"/calls/{call.pk}/close/", follow=True))
    actions = AuditEvent.objects.about(call).order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["call changed", "call closed"]


def test_others_keep_none(ann: User, ivo: User, mei: User, call: Call) -> None:
    for who in (ann, ivo, mei):
        for url in ("/calls/new/", f"/calls/{call.pk}/edit/", f"/calls/{call.pk}/close/"):
            assert browser(who).post(url, typed(call.cluster)).status_code == 403
    assert browser(mei).get(LIST).status_code == 403


def test_after_the_deadline_nothing_new_comes_in_but_what_was_returned(
    call: Call, ivo: User, project: Project, firefly: Cluster
) -> None:
    mine = {"project": project, "cluster": firefly, "created_by": ivo, "call": call, "state": "draft"}
    in_time, late = (AllocationRequestFactory.create(**mine) for _ in range(2))
    requests.submit_request(by=ivo, request=in_time)
    Call.objects.update(closes_at=timezone.now())
    AllocationRequest.objects.filter(pk=in_time.pk).update(state="returned")
    in_time.refresh_from_db()
    requests.submit_request(by=ivo, request=in_time)
    assert in_time.state == "submitted"
    late = AllocationRequest.objects.get(pk=late.pk)
    with pytest.raises(Unfinished, match="is closed"):
        requests.submit_request(by=ivo, request=late)
    late.refresh_from_db()
    assert late.state == "draft"


def test_the_queue_shows_what_was_asked_against_what_there_is(
    call: Call, sam: User, project: Project, firefly: Cluster
) -> None:
    mine = {"project": project, "cluster": firefly, "call": call}
    AllocationRequestFactory.create(**mine, gpu_hours=4000)
    ReviewFactory.create(request=AllocationRequestFactory.create(**mine, gpu_hours=2000, state="approved"))
    AllocationRequestFactory.create(**mine, gpu_hours=999, state="withdrawn")
    AllocationRequestFactory.create(cluster=firefly, project__title="Without a call")
    page = words(browser(sam).get("/requests/queue/", {"call": call.pk}))
    assert "Without a call" not in page and "Squeezed light" in page
    assert "6 000 GPU-h" in page and "1 000 GPU-h more than there are" in page and "3 000 GPU-h left" in page


def test_more_calls_take_no_more_queries(sam: User, call: Call) -> None:
    few = queries_of(browser(sam), LIST)
    CallFactory.create_batch(30, cluster=call.cluster)
    assert queries_of(browser(sam), LIST) == few <= 15
