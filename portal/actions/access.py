"""Who gets in: switching a person's access off and on again, and resetting a second factor that was lost.

Whoever is switched off keeps their roles, so that switching on brings back what they were. Until then they are nobody:
they can't log in, and the clusters let them in no more (`jobs.offboarding` sees it by itself).
"""

from __future__ import annotations

import secrets

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from portal import emails
from portal.models import Membership, Role, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission, has_permission
from portal.transitions import Overtaken


@transaction.atomic
def switch_off(*, by: User, person: User, reason: str) -> None:
    """End the person's access: every browser is logged out, and nothing of theirs is sent any more."""
    check_may_switch(by, person)
    _lock(by, person)
    if not User.objects.filter(pk=person.pk, is_active=True).update(is_active=False):
        raise Overtaken(_("The access of %(person)s is switched off already.") % {"person": person})
    person.is_active = False
    log_out_everywhere(person)
    record("access switched off", person, by=by, reason=reason)
    _mail("access_switched_off", person, by=by, reason=reason)


@transaction.atomic
def switch_on(*, by: User, person: User) -> None:
    """Let the person in again, with the roles that they have. Accounts on clusters come back with the next job."""
    check_may_switch(by, person)
    if not User.objects.filter(pk=person.pk, is_active=False).update(is_active=True):
        raise Overtaken(_("The access of %(person)s is switched on already.") % {"person": person})
    person.is_active = True
    record("access switched on", person, by=by)
    _mail("access_switched_on", person, by=by, reason="")


@transaction.atomic
def reset_second_factor(*, by: User, person: User, reason: str) -> None:
    """Remove apps, security keys and recovery codes, and log out every browser: a lost phone may be logged in."""
    check_may_reset(by, person)
    if not Authenticator.objects.filter(user=person).delete()[0]:
        raise Overtaken(_("%(person)s has no second factor.") % {"person": person})
    log_out_everywhere(person)
    record("second factor reset", person, by=by, reason=reason)
    emails.post(
        "account_changed",
        to=person,
        key=f"second factor reset {secrets.token_hex(8)}",
        path=reverse("account"),
        person=person.name,
        what="second_factor_reset",
    )


def has_second_factor(person: User) -> bool:
    return bool(Authenticator.objects.filter(user=person).exists())


def log_out_everywhere(person: User) -> None:
    for session in UserSession.objects.filter(user=person):
        session.end()


# ── Who may ──────────────────────────────────────────────────────────────────


def check_may_switch(by: User, person: User) -> None:
    check_permission(by, Permission.SWITCH_ACCESS)
    if by == person:
        raise PermissionDenied(_("Nobody switches off their own access. Ask a colleague."))


def check_may_reset(by: User, person: User) -> None:
    check_permission(by, Permission.RESET_SECOND_FACTOR)
    if by == person:
        raise PermissionDenied(_("Nobody resets their own second factor. Ask a colleague."))


def may_switch(by: User, person: User) -> bool:
    """Whether to offer it; the deed asks again. So with the one below."""
    return by != person and has_permission(by, Permission.SWITCH_ACCESS)


def may_reset(by: User, person: User) -> bool:
    return by != person and has_permission(by, Permission.RESET_SECOND_FACTOR)


# ── Rows ─────────────────────────────────────────────────────────────────────


def _lock(by: User, person: User) -> None:
    """Two who switch each other off must not both succeed: the centre would be without staff."""
    locked = User.objects.select_for_update(no_key=True).filter(pk__in=(by.pk, person.pk)).order_by("pk")
    if not all(user.is_active for user in locked if user.pk == by.pk):
        raise PermissionDenied(_("Your own access was switched off meanwhile."))


def _mail(template: str, person: User, *, by: User, reason: str) -> None:
    """To the person, and to the PIs of the labs where they work; not to who did it."""
    labs = [m.lab_id for m in person.current_memberships if m.lab_id]
    heads = Membership.objects.current().filter(lab__in=labs, role=Role.PI, user__is_active=True)
    once = secrets.token_hex(8)
    for reader in {
        user.pk: user for user in (person, *(m.user for m in heads.select_related("user")))
    }.values():
        if reader == by:
            continue
        emails.post(
            template,
            to=reader,
            key=f"{template} {once}",
            path=reverse("portal:person", args=[person.pk]) if reader != person else "",
            name=person.name,
            theirs=int(reader == person),
            reason=reason,
        )
