"""An institution asks to be registered, its contact proves the address, the centre says yes or no. One transaction each."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from portal import emails
from portal.actions.institutions import register_institution
from portal.links import nonce_of
from portal.models import Institution, InstitutionApplication, Role, Terms, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import step

State = InstitutionApplication.State
LASTS = timedelta(days=7)  # the link that confirms the address
A_DAY = timedelta(days=1)
MOST_OF_ADDRESS, MOST_OF_DOMAIN = (
    3,
    20,
)  # applications a day: each sends a mail to an address that somebody typed


@transaction.atomic
def apply(
    *,
    name: str,
    country: str,
    mail_domain: str,
    contact_name: str,
    contact_email: str,
    purpose: str,
    agreement: Terms | None,
) -> InstitutionApplication | None:
    """Keep it and mail the link that confirms the address. None: enough for today, which nobody is told."""
    recent = InstitutionApplication.objects.filter(created_at__gt=timezone.now() - A_DAY)
    if (
        recent.filter(contact_email=contact_email).count() >= MOST_OF_ADDRESS
        or recent.filter(mail_domain=mail_domain).count() >= MOST_OF_DOMAIN
    ):
        return None
    application = InstitutionApplication.objects.create(
        name=name,
        country=country,
        mail_domain=mail_domain,
        contact_name=contact_name,
        contact_email=contact_email,
        purpose=purpose,
        agreement=agreement,
    )
    record("application sent", application, by=None, mail_domain=mail_domain)
    emails.post(
        "application_confirm",
        to=contact_email,
        key=f"application {application.pk}",
        path=reverse("portal:application_confirm", args=["TOKEN"]),
        seal=("application", application.nonce),
        mail_domain=mail_domain,  # and nothing else of what a stranger typed
    )
    return application


@transaction.atomic
def confirm(*, application: InstitutionApplication) -> None:
    """The contact followed the link: now the centre sees the application."""
    step(application, State.WAITING, by=None, confirmed_at=timezone.now())
    for colleague in emails.people_with(Role.STAFF):
        emails.post(
            "application_waiting",
            to=colleague,
            key=f"application {application.pk} waiting",
            path=reverse("portal:application", args=[application.pk]),
            name=application.name,
            mail_domain=application.mail_domain,
        )


@transaction.atomic
def accept(
    *,
    by: User,
    application: InstitutionApplication,
    name: str,
    slug: str,
    account: str,
    country: str,
    mail_domain: str,
) -> Institution:
    """Register it, as applied for or as corrected, and invite its contact as its first admin."""
    check_permission(by, Permission.MANAGE_INSTITUTIONS)
    institution = register_institution(
        by=by,
        name=name,
        slug=slug,
        account=account,
        country=country,
        mail_domain=mail_domain,
        admin=application.contact_email,
    )
    step(application, State.ACCEPTED, by=by, institution=institution, decided_at=timezone.now())
    return institution


@transaction.atomic
def decline(*, by: User, application: InstitutionApplication, comment: str) -> None:
    """With a reason, which the contact gets by mail."""
    check_permission(by, Permission.MANAGE_INSTITUTIONS)
    step(application, State.DECLINED, by=by, note=comment, comment=comment, decided_at=timezone.now())
    emails.post(
        "application_declined",
        to=application.contact_email,
        key=f"application {application.pk} declined",
        person=application.contact_name,
        name=application.name,
        comment=comment,
    )


def opened_by(token: str) -> InstitutionApplication | None:
    """The application that a link stands for, while its address waits for confirmation. Never says why not."""
    nonce = nonce_of("application", token)
    if nonce is None:
        return None
    waiting = InstitutionApplication.objects.filter(
        state=State.UNCONFIRMED, created_at__gt=timezone.now() - LASTS
    )
    return waiting.filter(nonce=nonce).first()
