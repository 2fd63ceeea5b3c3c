"""What becomes of a role: it ends, changes, or moves to another lab. One transaction each, with `by`.

The row of an ended role stays: who was what, when, is a fact. What a person loses with their last role in a lab,
jobs and the account on the cluster, is found by the workers (`jobs.offboarding`), within seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from portal import emails
from portal.actions.joining import check_open
from portal.models import Lab, Membership, Role, User
from portal.models.audit import record
from portal.models.people import LAB_ROLES
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken


class NeedsPI(Exception):
    """The lab would be left without a PI while it has active projects. The message says what to do."""


@transaction.atomic
def end(*, by: User, membership: Membership, reason: str = "", successor: Membership | None = None) -> None:
    """End a role. Whoever is the last PI of a lab with active projects names a member of it who becomes PI: else NeedsPI."""
    check_may_end(by, membership)
    _lock_place(membership)
    if successor is not None:
        _promote(successor, membership.lab, by=by)
    _check_somebody_stays(membership)
    _close(membership)
    _note("membership ended", membership, by=by, reason=reason)
    _mail("membership_ended", membership, by=by, reason=reason)


@transaction.atomic
def change_role(*, by: User, membership: Membership, role: str) -> Membership:
    """Make a lab's member its PI, or a PI a member. The old role's row ends, the new one begins now."""
    check_may_change(by, membership)
    _lock_place(membership)
    if role == membership.role:
        raise Overtaken(_("%(person)s has this role already.") % {"person": membership.user})
    _check_somebody_stays(membership)
    return _become(membership, role, by=by)


@transaction.atomic
def move(*, by: User, membership: Membership, lab: Lab, role: str) -> Membership:
    """End a role in one lab and begin one in another: inside an institution by its admins, between two by the centre."""
    check_may_move(by, membership, lab)
    _lock_place(membership)
    check_open(lab)
    _check_somebody_stays(membership)
    _close(membership)
    moved, _new = Membership.objects.get_or_create(
        user=membership.user, lab=lab, ended_at=None, defaults={"role": role}
    )
    _forget_roles(membership.user)
    _note("membership moved", membership, by=by, to=str(lab), new_role=moved.role)
    _note("membership begun", moved, by=by)
    _mail("membership_moved", membership, by=by, to_lab=lab.name, role=moved.role)
    return moved


def end_all(lab: Lab, *, by: User, reason: str) -> int:
    """End every role in a lab that closes. Inside the transaction of its closing; how many there were."""
    ending = list(_current_in(lab))
    for membership in ending:
        _close(membership)
        _note("membership ended", membership, by=by, reason=reason)
    return len(ending)


# ── Who may ──────────────────────────────────────────────────────────────────


def check_may_end(by: User, membership: Membership) -> None:
    """Oneself; a lab's PI and its institution's admins whom they look after; the centre everybody."""
    if by.pk == membership.user_id:
        return
    if membership.lab:
        check_permission(by, Permission.CHANGE_ROLES, lab=membership.lab)
    elif membership.institution:
        check_permission(by, Permission.CHANGE_ROLES, institution=membership.institution)
    else:
        check_permission(by, Permission.DISMISS)


def check_may_change(by: User, membership: Membership) -> None:
    if membership.lab is None:
        raise PermissionDenied(_("Only roles in a lab can be changed. End this one, and invite to another."))
    check_permission(by, Permission.CHANGE_ROLES, lab=membership.lab)


def check_may_move(by: User, membership: Membership, lab: Lab | None = None) -> None:
    """Raise PermissionDenied unless `by` may move it at all or, where it is named, to `lab`."""
    if membership.lab is None:
        raise PermissionDenied(_("Only roles in a lab can move to another lab."))
    check_permission(by, Permission.MOVE_PEOPLE, lab=membership.lab)
    if lab is not None:
        check_permission(by, Permission.MOVE_PEOPLE, lab=lab)


def may_end(by: User, membership: Membership) -> bool:
    """Whether to offer it; the deed asks again. So with the two below."""
    return _allows(check_may_end, by, membership)


def may_change(by: User, membership: Membership) -> bool:
    return _allows(check_may_change, by, membership)


def may_move(by: User, membership: Membership) -> bool:
    return _allows(check_may_move, by, membership)


def _allows(check: Callable[[User, Membership], None], by: User, membership: Membership) -> bool:
    try:
        check(by, membership)
    except PermissionDenied:
        return False
    return True


def labs_to_move_to(by: User, membership: Membership) -> QuerySet[Lab]:
    """Open labs to which `by` may move it: the centre to any, an institution's admin within the institution."""
    others = Lab.objects.open().exclude(pk=membership.lab_id or 0).select_related("institution")
    if Role.STAFF not in by.roles:
        led = [m.institution_id for m in by.current_memberships if m.role == Role.INSTITUTION_ADMIN]
        others = others.filter(institution__in=led)
    return others.order_by("institution__name", "name")


# ── Whether somebody stays ───────────────────────────────────────────────────


def needs_successor(membership: Membership) -> bool:
    """Whether its lab, which is open and has active projects, would be without a PI."""
    lab = membership.lab
    if lab is None or membership.role != Role.PI or lab.closed_at is not None:
        return False
    others = _current_in(lab).filter(role=Role.PI, user__is_active=True).exclude(pk=membership.pk)
    return lab.projects.active().exists() and not others.exists()


def possible_successors(membership: Membership) -> QuerySet[Membership]:
    return (
        Membership.objects.current()
        .filter(lab=membership.lab_id, lab__isnull=False, role=Role.MEMBER, user__is_active=True)
        .select_related("user")
        .order_by("user__name")
    )


def _check_somebody_stays(membership: Membership) -> None:
    if needs_successor(membership):
        raise NeedsPI(
            _("%(lab)s has active projects and no other PI. Name somebody of the lab who becomes its PI.")
            % {"lab": membership.lab}
        )
    last = membership.role == Role.STAFF and not (
        Membership.objects.current()
        .filter(role=Role.STAFF, user__is_active=True)
        .exclude(pk=membership.pk)
        .exists()
    )
    if last:
        raise PermissionDenied(_("The centre needs at least one person on its staff."))


def _lock_place(membership: Membership) -> None:
    """One change of a lab after the other: two PIs who remove each other must not both succeed."""
    if membership.lab_id:
        Lab.objects.select_for_update(no_key=True).get(pk=membership.lab_id)


# ── Rows ─────────────────────────────────────────────────────────────────────


def _promote(successor: Membership, lab: Lab | None, *, by: User) -> None:
    if (
        lab is None
        or successor.lab_id != lab.pk
        or successor.role != Role.MEMBER
        or not successor.user.is_active
    ):
        raise NeedsPI(_("Name a member of this lab who becomes its PI."))
    _become(successor, Role.PI, by=by)


def _become(membership: Membership, role: str, *, by: User) -> Membership:
    if role not in LAB_ROLES:
        raise PermissionDenied(_("This role can't be given in a lab."))
    _close(membership)
    changed = Membership.objects.create(user=membership.user, lab=membership.lab, role=role)
    _forget_roles(membership.user)
    _note("membership role changed", changed, by=by, before=membership.role)
    _mail("membership_changed", changed, by=by)
    return changed


def _close(membership: Membership) -> None:
    """Unless somebody was first."""
    now = timezone.now()
    if not Membership.objects.current().filter(pk=membership.pk).update(ended_at=now):
        raise Overtaken(_("This role has already ended."))
    membership.ended_at = now
    _forget_roles(membership.user)


def _forget_roles(user: User) -> None:
    """What was read of them before is no longer so."""
    user.__dict__.pop("current_memberships", None)
    user.__dict__.pop("roles", None)


def _current_in(lab: Lab) -> QuerySet[Membership]:
    return Membership.objects.current().in_lab(lab).select_related("user", "lab")


def _note(action: str, membership: Membership, *, by: User, **more: str) -> None:
    record(
        action,
        membership,
        by=by,
        project=None,
        person=membership.user_id,
        name=str(membership.user),
        role=membership.role,
        place=str(membership.place or ""),
        **more,
    )


def _mail(
    template: str, membership: Membership, *, by: User, role: str = "", reason: str = "", to_lab: str = ""
) -> None:
    """Once to the person, and to the PIs of the lab; not to who did it."""
    heads = [m.user for m in _current_in(membership.lab).filter(role=Role.PI)] if membership.lab else []
    for reader in {user.pk: user for user in (membership.user, *heads)}.values():
        if reader.pk == by.pk:
            continue
        emails.post(
            template,
            to=reader,
            key=f"{template} {membership.pk} {membership.ended_at or membership.started_at:%s}",
            path=reverse("portal:person", args=[membership.user_id]) if reader != membership.user else "/",
            name=membership.user.name,
            place=str(membership.place or ""),
            doer=by.name,
            theirs=int(reader.pk == membership.user_id),
            role=role or membership.role,
            reason=reason,
            to_lab=to_lab,
        )
