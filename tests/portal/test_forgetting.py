"""Once a day, what is kept no longer goes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.utils import timezone

from portal.celery import app
from portal.models import AuditEvent, InstitutionApplication, User
from portal.tasks import forget
from tests.factories import ApplicationFactory

pytestmark = pytest.mark.django_db
State = InstitutionApplication.State


def application(state: State, days: int) -> InstitutionApplication:
    return ApplicationFactory.create(state=state, created_at=timezone.now() - timedelta(days=days))


def session(user: User, key: str, days_left: int) -> None:
    expires = timezone.now() + timedelta(days=days_left)
    Session.objects.create(session_key=key, session_data="", expire_date=expires)
    UserSession.objects.create(user=user, session_key=key, ip="127.0.0.1")


def test_the_clock_rings_for_it() -> None:
    assert forget.name in {entry["task"] for entry in app.conf.beat_schedule.values()}


def test_an_application_that_nobody_confirmed_goes_after_thirty_days_and_leaves_a_line() -> None:
    old = application(State.UNCONFIRMED, 31)
    staying = [
        application(State.UNCONFIRMED, 29),
        application(State.WAITING, 31),
        application(State.DECLINED, 99),
    ]
    forget()
    forget()
    assert set(InstitutionApplication.objects.all()) == set(staying)
    gone = AuditEvent.objects.get(action="unconfirmed application deleted")
    assert (gone.object_id, gone.actor) == (str(old.pk), None)


def test_ended_sessions_go_and_the_others_stay(mei: User) -> None:
    session(mei, "ended", -1)
    session(mei, "running", 1)
    forget()
    assert [one.session_key for one in Session.objects.all()] == ["running"]
    assert [one.session_key for one in UserSession.objects.all()] == ["running"]
