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
    CHANGE_REQUEST = "change request"  # also one that somebody else of the lab began
    ACCEPT_TRANSFER = "accept transfer"  # of another project's hours to one of theirs
    DECIDE_REQUEST = "decide request"
    AGREE_TO_AWARD = "agree to award"  # as the second of two
    ASK_FOR_REVIEW = "ask for review"
    WRITE_REVIEW = "write review"
    SEE_CALLS = "see calls"
    KEEP_CALLS = "keep calls"
    SET_POLICY = "set policy"
    SET_CAPS = "set caps"  # the most that one person may use of an allocation
    WRITE_REPORT = "write report"
    SUSPEND_ALLOCATION = "suspend allocation"
    ADJUST_HOURS = "adjust hours"  # by hand
    AGREE_TO_CORRECTION = "agree to correction"  # as the second of two
    DECIDE_REFUND = "decide refund"
    SET_PRICES = "set prices"
    SEE_PEOPLE = "see people"
    SEE_PROGRAMME = "see programme"  # reports over several institutions
    SEE_CLUSTERS = "see clusters"
    KEEP_COLLECTING = "keep collecting"  # look at what can't be read, or can't be measured
    KEEP_CLUSTERS = "keep clusters"  # maintenance, login nodes, jobs that could not be sent
    CLOSE_MONTHS = "close months"
    EXPLAIN_DISCREPANCY = "explain discrepancy"  # of our sums and the scheduler's
    INVITE = "invite"  # and say yes or no to who asks to join
    MANAGE_LABS = "manage labs"  # make them
    MANAGE_INSTITUTIONS = "manage institutions"  # register and change them, decide on their applications
    APPOINT = "appoint"  # invite staff, approvers and funders
    PUBLISH_TERMS = "publish terms"
    CHANGE_ROLES = "change roles"  # end them too, in a lab or an institution
    MOVE_PEOPLE = "move people"  # to another lab
    DISMISS = "dismiss"  # the centre's own people, and funders
    SWITCH_ACCESS = "switch access"  # of a person, off and on
    RESET_SECOND_FACTOR = "reset second factor"  # that somebody lost
    CLOSE_PROJECT = "close project"
    REOPEN_PROJECT = "reopen project"
    CLOSE_LAB = "close lab"
    APPROVE_ACCOUNTS = "approve accounts"  # POSIX users on a cluster whose centre wants to be asked
    SEE_AUDIT = "see audit"


HOLDERS: dict[Permission, frozenset[Role]] = {
    Permission.SUBMIT_JOB: frozenset({Role.MEMBER, Role.PI}),
    Permission.READ_LAB_FILES: frozenset({Role.PI}),
    Permission.CANCEL_LAB_JOB: frozenset({Role.PI, Role.STAFF}),
    Permission.REQUEST_HOURS: frozenset({Role.PI, Role.INSTITUTION_ADMIN, Role.STAFF}),
    Permission.CHANGE_REQUEST: frozenset({Role.PI, Role.INSTITUTION_ADMIN}),
    Permission.ACCEPT_TRANSFER: frozenset({Role.PI}),
    Permission.DECIDE_REQUEST: frozenset({Role.STAFF, Role.APPROVER}),
    Permission.AGREE_TO_AWARD: frozenset({Role.APPROVER}),
    Permission.ASK_FOR_REVIEW: frozenset({Role.STAFF}),
    Permission.WRITE_REVIEW: frozenset({Role.STAFF, Role.APPROVER}),
    Permission.SEE_CALLS: frozenset({Role.PI, Role.INSTITUTION_ADMIN, Role.STAFF, Role.APPROVER}),
    Permission.KEEP_CALLS: frozenset({Role.STAFF}),
    Permission.SET_POLICY: frozenset({Role.STAFF}),
    Permission.SET_CAPS: frozenset({Role.PI}),
    Permission.WRITE_REPORT: frozenset({Role.PI}),
    Permission.SUSPEND_ALLOCATION: frozenset({Role.STAFF}),
    Permission.ADJUST_HOURS: frozenset({Role.STAFF}),
    Permission.AGREE_TO_CORRECTION: frozenset({Role.STAFF, Role.APPROVER}),
    Permission.DECIDE_REFUND: frozenset({Role.STAFF}),
    Permission.SET_PRICES: frozenset({Role.STAFF}),
    Permission.SEE_PEOPLE: frozenset({*Role} - {Role.FUNDER}),
    Permission.SEE_PROGRAMME: frozenset({Role.STAFF, Role.APPROVER, Role.FUNDER}),
    Permission.SEE_CLUSTERS: frozenset({Role.STAFF}),
    Permission.KEEP_COLLECTING: frozenset({Role.STAFF}),
    Permission.KEEP_CLUSTERS: frozenset({Role.STAFF}),
    Permission.CLOSE_MONTHS: frozenset({Role.STAFF}),
    Permission.EXPLAIN_DISCREPANCY: frozenset({Role.STAFF}),
    Permission.INVITE: frozenset({Role.PI, Role.INSTITUTION_ADMIN, Role.STAFF}),
    Permission.MANAGE_LABS: frozenset({Role.INSTITUTION_ADMIN, Role.STAFF}),
    Permission.MANAGE_INSTITUTIONS: frozenset({Role.STAFF}),
    Permission.APPOINT: frozenset({Role.STAFF}),
    Permission.PUBLISH_TERMS: frozenset({Role.STAFF}),
    Permission.CHANGE_ROLES: frozenset({Role.PI, Role.INSTITUTION_ADMIN, Role.STAFF}),
    Permission.MOVE_PEOPLE: frozenset({Role.INSTITUTION_ADMIN, Role.STAFF}),
    Permission.DISMISS: frozenset({Role.STAFF}),
    Permission.SWITCH_ACCESS: frozenset({Role.STAFF}),
    Permission.RESET_SECOND_FACTOR: frozenset({Role.STAFF}),
    Permission.CLOSE_PROJECT: frozenset({Role.PI, Role.INSTITUTION_ADMIN, Role.STAFF}),
    Permission.REOPEN_PROJECT: frozenset({Role.STAFF}),
    Permission.CLOSE_LAB: frozenset({Role.INSTITUTION_ADMIN, Role.STAFF}),
    Permission.APPROVE_ACCOUNTS: frozenset({Role.STAFF}),
    Permission.SEE_AUDIT: frozenset({Role.PI, Role.INSTITUTION_ADMIN, Role.STAFF, Role.APPROVER}),
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
    Permission.CHANGE_REQUEST: _(
        "Only those who ask change or withdraw a request. The centre's staff return it with comments, or ask anew on the lab's behalf."
    ),
    Permission.ACCEPT_TRANSFER: _("Only the PI of the project that receives the hours can agree to it."),
    Permission.DECIDE_REQUEST: _(
        "Only the centre's staff and approvers decide on requests, and nobody on their own."
    ),
    Permission.AGREE_TO_AWARD: _(
        "An award of this size needs a second approver: somebody with the role of an approver who did not give the first approval."
    ),
    Permission.ASK_FOR_REVIEW: _("Only the centre's staff ask colleagues for technical reviews."),
    Permission.WRITE_REVIEW: _("Only the person who was asked for a review can answer."),
    Permission.SEE_CALLS: _("Calls are for those who can ask for GPU-hours: PIs and institution admins."),
    Permission.KEEP_CALLS: _("Only the centre's staff open, change and close calls."),
    Permission.SET_POLICY: _("Only the centre's staff set the rules of a cluster."),
    Permission.SET_CAPS: _("Only the lab's PI can say how much each person may use."),
    Permission.WRITE_REPORT: _("Only the lab's PI can write the progress report."),
    Permission.SUSPEND_ALLOCATION: _("Only the centre's staff can suspend an allocation."),
    Permission.ADJUST_HOURS: _("Only the centre's staff can correct a balance."),
    Permission.AGREE_TO_CORRECTION: _(
        "Only the centre's staff and approvers agree to a correction, and nobody to their own."
    ),
    Permission.DECIDE_REFUND: _("Only the centre's staff decide on refunds."),
    Permission.SET_PRICES: _("Only the centre's staff set prices."),
    Permission.SEE_PEOPLE: _("Funders read totals, never who the people are."),
    Permission.SEE_PROGRAMME: _("This report is for funders and the centre's staff."),
    Permission.SEE_CLUSTERS: _("This page is for the centre's staff."),
    Permission.KEEP_COLLECTING: _("Only the centre's staff look after what the clusters report."),
    Permission.KEEP_CLUSTERS: _("Only the centre's staff look after the clusters."),
    Permission.CLOSE_MONTHS: _("Only the centre's staff close months."),
    Permission.EXPLAIN_DISCREPANCY: _("Only the centre's staff explain why sums differ."),
    Permission.INVITE: _(
        "Only a lab's PI, its institution's admins and the centre's staff say who joins. Ask your PI to invite."
    ),
    Permission.MANAGE_LABS: _("Only the institution's admins and the centre's staff make labs."),
    Permission.MANAGE_INSTITUTIONS: _("Only the centre's staff register institutions."),
    Permission.APPOINT: _("Only the centre's staff invite colleagues, approvers and funders."),
    Permission.PUBLISH_TERMS: _("Only the centre's staff publish terms."),
    Permission.CHANGE_ROLES: _(
        "Only the lab's PI, its institution's admins and the centre's staff change or end other people's roles."
    ),
    Permission.MOVE_PEOPLE: _(
        "Only the institution's admins move people between its labs, and only the centre's staff between institutions."
    ),
    Permission.DISMISS: _("Only the centre's staff end this role."),
    Permission.SWITCH_ACCESS: _("Only the centre's staff switch a person's access off and on."),
    Permission.RESET_SECOND_FACTOR: _(
        "Only the centre's staff reset the second factor of somebody who lost it."
    ),
    Permission.CLOSE_PROJECT: _(
        "Only the lab's PI, its institution's admins and the centre's staff close a project."
    ),
    Permission.REOPEN_PROJECT: _("Only the centre's staff reopen a project. Ask them."),
    Permission.CLOSE_LAB: _("Only the institution's admins and the centre's staff close a lab."),
    Permission.APPROVE_ACCOUNTS: _("Only the centre's staff approve cluster accounts."),
    Permission.SEE_AUDIT: _("Who did what is told to PIs, institution admins and the centre."),
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
