"""Mail goes out once for its reason, in its reader's language, and a server that is away loses none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.mail import EmailMessage
from django.utils import timezone

from portal import emails, mailing
from portal.links import nonce_of, token_of
from portal.models import OutgoingMail, User
from tests.conftest import Bell


def post(to: User | str, **more: Any) -> None:
    emails.post("base", to=to, key="request 7 returned", path="/requests/7/", **more)


def test_it_rings_once_and_is_sent_once(
    mei: User, bell: Bell, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        post(mei)
        post(mei)
    assert bell.rang("portal.tasks.send_mails") == [()]
    assert (mailing.send_waiting(), mailing.send_waiting()) == (1, 0)
    assert [message.to for message in mail.outbox] == [["mei@example.org"]]


def test_another_person_gets_their_own(mei: User, ivo: User) -> None:
    post(mei)
    post(ivo)
    assert mailing.send_waiting() == 2


def test_it_speaks_the_readers_language(mei: User) -> None:
    User.objects.filter(pk=mei.pk).update(language="zh-hans")
    mei.refresh_from_db()
    post(mei)
    mailing.send_waiting()
    assert "Mei Lin" in mail.outbox[0].body
    assert "Hello" not in mail.outbox[0].body


def test_a_server_that_is_away_gets_it_later(mei: User, monkeypatch: pytest.MonkeyPatch) -> None:
    post(mei)

    def refuse(message: EmailMessage) -> int:
        raise ConnectionRefusedError("nobody there")

    with monkeypatch.context() as patch:
        patch.setattr(EmailMessage, "send", refuse)
        assert mailing.send_waiting() == 0
    assert OutgoingMail.objects.get().problem == "nobody there"
    assert mailing.send_waiting() == 0  # not yet
    with time_machine.travel(timezone.now() + timedelta(minutes=2), tick=False):
        assert mailing.send_waiting() == 1


def test_one_that_a_worker_is_sending_is_left_alone(mei: User) -> None:
    post(mei)
    row = OutgoingMail.objects.get()
    OutgoingMail.objects.update(not_before=row.not_before + mailing.CLAIMED)
    assert not mailing._send(row)


@pytest.mark.django_db
def test_its_link_is_made_when_it_is_sent_and_stored_nowhere() -> None:
    emails.post("base", to="new@example.org", key="k", path="/invitations/TOKEN/", seal=("invitation", "abc"))
    token = token_of("invitation", "abc")
    row = OutgoingMail.objects.get()
    assert token not in str(row.context)
    assert f"/invitations/{token}/" in str(mailing.message(row).body)


def test_a_link_is_good_for_its_kind_only() -> None:
    assert nonce_of("invitation", token_of("invitation", "abc")) == "abc"
    assert nonce_of("application", token_of("invitation", "abc")) is None
    assert nonce_of("invitation", "abc:forged") is None
