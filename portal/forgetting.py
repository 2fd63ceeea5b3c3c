"""What is kept no longer: sessions that ended, and applications whose contact never confirmed their address."""

from __future__ import annotations

from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone

from portal.models import InstitutionApplication
from portal.models.audit import record

UNCONFIRMED_STAYS = timedelta(days=30)  # the link that confirms it works for seven


def forget_ended_sessions() -> None:
    """With the lines of "where you are logged in" that stand for them."""
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
    UserSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()


@transaction.atomic
def forget_unconfirmed_applications() -> None:
    """What a stranger typed about others goes; that there was an application stays in the audit."""
    unconfirmed = InstitutionApplication.objects.filter(
        state=InstitutionApplication.State.UNCONFIRMED, created_at__lt=timezone.now() - UNCONFIRMED_STAYS
    )
    for application in unconfirmed.select_for_update():
        record("unconfirmed application deleted", application, by=None)
        application.delete()
