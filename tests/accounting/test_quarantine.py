"""Records that could not be read: listed for staff, who look at each and note what it was."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from accounting.actions.quarantine import look_at_record
from accounting.models import Cluster, QuarantinedRecord
from portal.models import AuditEvent, User
from portal.transitions import Overtaken
from tests.pages import browser, queries_of, words

LIST = "/clusters/quarantine/"


@pytest.fixture
def cut(firefly: Cluster) -> QuarantinedRecord:
    return QuarantinedRecord.objects.create(
        cluster=firefly, fingerprint="1", text="<b>9|x|", reason="is cut off"
    )


def test_staff_see_each_and_note_what_it_was(cut: QuarantinedRecord, sam: User) -> None:
    client = browser(sam)
    assert "1 record of the scheduler can't be read" in words(client.get("/"))
    page = words(client.get(LIST))
    assert all(word in page for word in ("is cut off", "Firefly", "<b>9|x|", "1 record waits"))
    assert "This field is required" in words(client.post(f"{LIST}{cut.pk}/", {"note": ""}))
    told = words(client.post(f"{LIST}{cut.pk}/", {"note": "A wrapper's greeting."}, follow=True))
    assert "Noted" in told and "Nothing waits to be looked at" in told
    cut.refresh_from_db()
    assert (cut.looked_by, cut.note) == (sam, "A wrapper's greeting.")
    assert AuditEvent.objects.get(action="quarantined record looked at").detail["note"] == cut.note
    assert "A wrapper's greeting." in words(client.get(f"{LIST}{cut.pk}/"))
    assert "is cut off" in words(client.get(f"{LIST}?show=all"))
    assert "can't be read" not in words(client.get("/"))


def test_the_first_who_looks_has_the_word(cut: QuarantinedRecord, sam: User) -> None:
    look_at_record(by=sam, quarantined=cut, note="A greeting.")
    with pytest.raises(Overtaken):
        look_at_record(by=sam, quarantined=cut, note="Something else.")
    answer = browser(sam).post(
        f"/api/v1/quarantine/{cut.pk}/look/", {"note": "Late."}, content_type="application/json"
    )
    assert answer.status_code == 409
    [told] = browser(sam).get("/api/v1/quarantine/").json()["results"]
    assert (told["reason"], told["looked_by"], told["note"]) == ("is cut off", "Sam Weber", "A greeting.")


def test_it_is_for_the_staff(cut: QuarantinedRecord, ann: User, mei: User) -> None:
    for who in (ann, mei):
        assert browser(who).get(LIST).status_code == 403
        with pytest.raises(PermissionDenied):
            look_at_record(by=who, quarantined=cut, note="?")


def test_many_are_paged_in_few_queries(firefly: Cluster, sam: User) -> None:
    QuarantinedRecord.objects.bulk_create(
        QuarantinedRecord(cluster=firefly, fingerprint=str(n), text="9|x|", reason="is cut off")
        for n in range(60)
    )
    assert queries_of(browser(sam), LIST) <= 15
    assert "1–20 of 60 records" in words(browser(sam).get(LIST))
