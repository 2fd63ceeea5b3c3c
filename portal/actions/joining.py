"""Coming into a lab: a membership with its audit row, and requests to join. One transaction each, with `by`."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from portal import emails
from portal.mail_domains import verified_domains
from portal.models import Funder, Institution, JoinRequest, Lab, Membership, Role, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken, step

State = JoinRequest.State


@transaction.atomic
def join(*, user: User, role: str, place: Lab | Institution | Funder | None, by: User) -> Membership:
    """Make `user` a `role` in `place`; None is the centre. Who is there already stays as they are: Overtaken says so."""
    if isinstance(place, Lab):
        check_open(place)
    already = membership_in(place, user=user, role=role)
    if already is not None:
        raise Overtaken(already_there(already))
    try:
        with transaction.atomic():
            membership = Membership.objects.create(user=user, role=role, **where(place))
    except IntegrityError:  # somebody let them in at the same moment
        raise Overtaken(_("%(person)s has this role already.") % {"person": user}) from None
    record("membership begun", membership, by=by, person=user.pk, role=role, place=str(place or ""))
    user.__dict__.pop("current_memberships", None)  # what was read before is no longer so
    user.__dict__.pop("roles", None)
    return membership


def membership_in(
    place: Lab | Institution | Funder | None, *, user: User | None = None, email: str = "", role: str
) -> Membership | None:
    """What this person is there today. A lab or institution has one role for each; the centre has several."""
    who = {"user": user} if user else {"user__email": email}
    found = Membership.objects.current().select_related("user", "lab", "institution", "funder")
    found = found.filter(**who, **where(place))
    return (found if place else found.filter(role=role)).first()


def already_there(membership: Membership) -> str:
    """The sentence for who would be asked to come where they are."""
    place = membership.place
    told = {"person": membership.user, "role": membership.role_word, "place": place}
    if place is None:
        return _("%(person)s is %(role)s already.") % told
    return _("%(person)s is %(role)s of %(place)s already.") % told


def where(place: Lab | Institution | Funder | None) -> dict[str, Lab | Institution | Funder | None]:
    """The three columns of a row that belongs to `place`."""
    return {
        "lab": place if isinstance(place, Lab) else None,
        "institution": place if isinstance(place, Institution) else None,
        "funder": place if isinstance(place, Funder) else None,
    }


def check_open(lab: Lab) -> None:
    if Lab.objects.select_for_update(no_key=True).get(pk=lab.pk).closed_at is not None:
        raise Overtaken(_("%(lab)s is closed: nobody joins it any more.") % {"lab": lab})


# ── Requests to join ────────────────────────────────────────────────────────


@transaction.atomic
def ask_to_join(*, by: User, lab: Lab, message: str = "") -> JoinRequest:
    """Ask the lab's PIs. Only labs of an institution in whose mail domain one has an address."""
    if lab.institution.mail_domain not in verified_domains(by) - {""}:
        raise PermissionDenied(_("Only people with an address of the institution can ask to join its labs."))
    check_open(lab)
    already = membership_in(lab, user=by, role=Role.MEMBER)
    if already is not None:
        raise Overtaken(already_there(already))
    try:
        with transaction.atomic():
            asked = JoinRequest.objects.create(user=by, lab=lab, message=message)
    except IntegrityError:
        raise Overtaken(_("You have asked already. The lab's PI has your request.")) from None
    record("join request sent", asked, by=by, lab=lab.pk)
    for leader in _leaders(lab):
        emails.post(
            "join_request",
            to=leader,
            key=f"join request {asked.pk}",
            path=reverse("portal:lab", args=[lab.pk]),
            who=by.name,
            email=by.email,
            lab=lab.name,
            message=message,
        )
    return asked


@transaction.atomic
def accept_request(*, by: User, asked: JoinRequest) -> Membership:
    check_permission(by, Permission.INVITE, lab=asked.lab)
    if not asked.user.is_active:
        raise Overtaken(_("This account has been switched off."))
    step(asked, State.ACCEPTED, by=by, decided_at=timezone.now())
    membership = join(user=asked.user, role=Role.MEMBER, place=asked.lab, by=by)
    _tell("join_accepted", asked)
    return membership


@transaction.atomic
def decline_request(*, by: User, asked: JoinRequest) -> None:
    check_permission(by, Permission.INVITE, lab=asked.lab)
    step(asked, State.DECLINED, by=by, decided_at=timezone.now())
    _tell("join_declined", asked)


@transaction.atomic
def withdraw_request(*, by: User, asked: JoinRequest) -> None:
    if asked.user_id != by.pk:
        raise PermissionDenied(_("Only the person who asked can take it back."))
    step(asked, State.WITHDRAWN, by=by, decided_at=timezone.now())


def _leaders(lab: Lab) -> list[User]:
    """Its PIs; a lab that has none yet is looked after by its institution's admins."""
    pis = list(
        User.objects.filter(memberships__in=Membership.objects.current().filter(lab=lab, role=Role.PI))
    )
    admins = Membership.objects.current().filter(institution=lab.institution_id, role=Role.INSTITUTION_ADMIN)
    return pis or list(User.objects.filter(memberships__in=admins))


def _tell(template: str, asked: JoinRequest) -> None:
    path = reverse("portal:lab", args=[asked.lab_id]) if template == "join_accepted" else ""
    emails.post(template, to=asked.user, key=f"{template} {asked.pk}", path=path, lab=asked.lab.name)
