"""Invitations: a role in a place, offered to one address; single use, seven days. One transaction each, with `by`."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from portal import emails
from portal.actions.joining import already_there, check_open, join, membership_in, where
from portal.links import new_nonce, nonce_of
from portal.mail_domains import verified_addresses
from portal.models import Funder, Institution, Invitation, Lab, Membership, Role, User
from portal.models.audit import record
from portal.models.joining import a_week_from_now
from portal.models.people import CENTRE_ROLES, LAB_ROLES
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken

Place = Lab | Institution | Funder | None


def roles_of(place: Place) -> tuple[Role, ...]:
    """What can be offered there, to whoever may invite there: nothing there is above a PI or an institution's admin."""
    if isinstance(place, Lab):
        return LAB_ROLES
    if isinstance(place, Institution):
        return (Role.INSTITUTION_ADMIN,)
    return (Role.FUNDER,) if isinstance(place, Funder) else CENTRE_ROLES


def check_may_invite(by: User, place: Place) -> None:
    """Raise PermissionDenied with the sentence for people unless `by` may invite there."""
    if isinstance(place, Lab):
        check_permission(by, Permission.INVITE, lab=place)
    elif isinstance(place, Institution):
        check_permission(by, Permission.INVITE, institution=place)
    else:
        check_permission(by, Permission.APPOINT)


@transaction.atomic
def invite(*, by: User, email: str, role: str, place: Place, name: str = "") -> Invitation:
    """Offer `role` in `place` to an address. Overtaken says who is there already, or invited already."""
    check_may_invite(by, place)
    if role not in roles_of(place):
        raise PermissionDenied(_("This role can't be given there."))
    if isinstance(place, Lab):
        check_open(place)  # and locks it: of two at the same moment, the second finds the first
    email = email.lower()
    already = membership_in(place, email=email, role=role)
    if already is not None:
        raise Overtaken(already_there(already))
    if _open_in(place).filter(email=email, role=role).exists():
        raise Overtaken(_("%(email)s is invited already. You can send it again.") % {"email": email})
    invitation = Invitation.objects.create(email=email, role=role, invited_by=by, **where(place))
    record("invitation sent", invitation, by=by, email=email, role=role, place=str(place or ""))
    _mail(invitation, name)
    return invitation


@transaction.atomic
def send_again(*, by: User, invitation: Invitation) -> None:
    """With seven new days and a new link; the old one no longer opens."""
    check_may_invite(by, invitation.place)
    if invitation.lab:
        check_open(invitation.lab)
    fresh = {"nonce": new_nonce(), "expires_at": a_week_from_now()}
    _change(invitation, **fresh)
    record("invitation sent again", invitation, by=by, email=invitation.email)
    _mail(invitation)


@transaction.atomic
def revoke(*, by: User, invitation: Invitation) -> None:
    check_may_invite(by, invitation.place)
    _change(invitation, revoked_at=timezone.now())
    record("invitation revoked", invitation, by=by, email=invitation.email)


@transaction.atomic
def accept(*, by: User, invitation: Invitation) -> Membership:
    """Take the offered role: by the person with the invited address, once."""
    if not is_for(invitation, by):
        raise PermissionDenied(_("This invitation is for another address than yours."))
    taken = Invitation.objects.open().filter(pk=invitation.pk)
    if not taken.update(accepted_at=timezone.now(), accepted_by=by):
        raise Overtaken(_("This invitation is no longer open."))
    record("invitation accepted", invitation, by=by, role=invitation.role)
    return join(user=by, role=invitation.role, place=invitation.place, by=by)


def is_for(invitation: Invitation, user: User) -> bool:
    return invitation.email.lower() in verified_addresses(user)


def opened_by(token: str) -> Invitation | None:
    """The invitation that a link stands for, while it is open. Never says why not."""
    nonce = nonce_of("invitation", token)
    if nonce is None:
        return None
    found = Invitation.objects.open().exclude(lab__closed_at__isnull=False).filter(nonce=nonce)
    return found.select_related("lab__institution", "institution", "funder", "invited_by").first()


def _open_in(place: Place) -> QuerySet[Invitation]:
    return Invitation.objects.open().filter(**where(place))


def _change(invitation: Invitation, **fields: object) -> None:
    """Unless it was answered meanwhile."""
    if not Invitation.objects.unanswered().filter(pk=invitation.pk).update(**fields):
        raise Overtaken(_("This invitation was accepted or revoked meanwhile."))
    for name, value in fields.items():
        setattr(invitation, name, value)


def _mail(invitation: Invitation, name: str = "") -> None:
    place = invitation.place
    known = User.objects.filter(email=invitation.email).first()  # who has an account reads in their language
    emails.post(
        "invitation",
        to=known or invitation.email,
        key=f"invitation {invitation.pk} {invitation.nonce}",
        path=reverse("portal:invitation", args=["TOKEN"]),
        seal=("invitation", invitation.nonce),
        person=name,
        role=invitation.role,
        place=str(place or ""),
        institution=place.institution.name if isinstance(place, Lab) else "",
        inviter=invitation.invited_by.name if invitation.invited_by else "",
    )
