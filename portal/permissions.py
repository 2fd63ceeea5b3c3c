"""Who may do what. Roles are rows (Membership); this is the one table of what each role may do where it holds.

What a person may *see* is told by the models' `visible_to(user)`: outside of it everything is 404. Inside it,
what they may not *do* is 403 with a sentence from here.
"""

from __future__ import annotations

from enum import Enum

from django.core.exceptions import PermissionDenied
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.models import Institution, Lab, Membership, Role, User


class Permission(Enum):
    SUBMIT_JOB = "submit job"
    READ_LAB_FILES = "read lab files"  # the files and logs of other people's jobs in the lab
    CANCEL_LAB_JOB = "cancel lab job"
    REQUEST_HOURS = "request hours"
    DECIDE_REQUEST = "decide request"
    SEE_PEOPLE = "see people"
    SEE_PROGRAMME = "see programme"  # reports over several institutions
    SEE_CLUSTERS = "see clusters"


HOLDERS: dict[Permission, frozenset[Role]] = {
    Permission.SUBMIT_JOB: frozenset({Role.MEMBER, Role.PI}),
    Permission.READ_LAB_FILES: frozenset({Role.PI}),
    Permission.CANCEL_LAB_JOB: frozenset({Role.PI, Role.STAFF}),
    Permission.REQUEST_HOURS: frozenset({Role.PI, Role.INSTITUTION_ADMIN, Role.STAFF}),
    Permission.DECIDE_REQUEST: frozenset({Role.STAFF, Role.APPROVER}),
    Permission.SEE_PEOPLE: frozenset({*Role} - {Role.FUNDER}),
    Permission.SEE_PROGRAMME: frozenset({Role.STAFF, Role.APPROVER, Role.FUNDER}),
    Permission.SEE_CLUSTERS: frozenset({Role.STAFF}),
}

REFUSALS: dict[Permission, Promise] = {
    Permission.SUBMIT_JOB: _(
        "Only members of this project's lab can submit jobs to it. Ask its PI for an invitation."
    ),
    Permission.READ_LAB_FILES: _(
        "Only the person who submitted this job and the lab's PI can read its files."
    ),
    Permission.CANCEL_LAB_JOB: _(
        "Only the person who submitted this job, the lab's PI and the centre's staff can cancel it."
    ),
    Permission.REQUEST_HOURS: _("Only the lab's PI can ask for GPU-hours. Ask your PI to send the request."),
    Permission.DECIDE_REQUEST: _(
        "Only the centre's staff and approvers decide on requests, and nobody on their own."
    ),
    Permission.SEE_PEOPLE: _("Funders read totals, never who the people are."),
    Permission.SEE_PROGRAMME: _("This report is for funders and the centre's staff."),
    Permission.SEE_CLUSTERS: _("This page is for the centre's staff."),
}


def has_permission(
    user: User, permission: Permission, *, lab: Lab | None = None, institution: Institution | None = None
) -> bool:
    """Whether `user` holds `permission` in that lab or institution (or, with neither, anywhere)."""
    return any(
        membership.role in HOLDERS[permission] and _covers(membership, lab, institution)
        for membership in user.current_memberships
    )


def check_permission(
    user: User, permission: Permission, *, lab: Lab | None = None, institution: Institution | None = None
) -> None:
    """Raise PermissionDenied with the sentence for people unless `has_permission`."""
    if not has_permission(user, permission, lab=lab, institution=institution):
        raise PermissionDenied(str(REFUSALS[permission]))


def _covers(membership: Membership, lab: Lab | None, institution: Institution | None) -> bool:
    if membership.place is None or (lab is None and institution is None):
        return True
    if lab is not None:
        return membership.lab_id == lab.pk or membership.institution_id == lab.institution_id
    return institution is not None and membership.institution_id == institution.pk
