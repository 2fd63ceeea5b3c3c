"""The one table of who may do what, walked through by every person."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from portal.models import Lab, User
from portal.permissions import HOLDERS, REFUSALS, Permission, check_permission, has_permission

IN_THEIR_LAB = {
    Permission.SUBMIT_JOB: "mei ivo",
    Permission.READ_LAB_FILES: "ivo",
    Permission.CANCEL_LAB_JOB: "ivo sam",
    Permission.REQUEST_HOURS: "ivo ada sam",
    Permission.ACCEPT_TRANSFER: "ivo",
    Permission.DECIDE_REQUEST: "sam ann",
    Permission.AGREE_TO_AWARD: "ann",
    Permission.ASK_FOR_REVIEW: "sam",
    Permission.WRITE_REVIEW: "sam ann",
    Permission.SEE_CALLS: "ivo ada sam ann",
    Permission.KEEP_CALLS: "sam",
    Permission.SET_POLICY: "sam",
    Permission.SET_CAPS: "ivo",
    Permission.WRITE_REPORT: "ivo",
    Permission.SUSPEND_ALLOCATION: "sam",
    Permission.ADJUST_HOURS: "sam",
    Permission.AGREE_TO_CORRECTION: "sam ann",
    Permission.DECIDE_REFUND: "sam",
    Permission.SET_PRICES: "sam",
    Permission.SEE_PEOPLE: "mei ivo ada sam ann",
    Permission.SEE_PROGRAMME: "sam ann",
    Permission.SEE_CLUSTERS: "sam",
    Permission.KEEP_COLLECTING: "sam",
    Permission.KEEP_CLUSTERS: "sam",
    Permission.CLOSE_MONTHS: "sam",
    Permission.EXPLAIN_DISCREPANCY: "sam",
    Permission.INVITE: "ivo ada sam",
    Permission.MANAGE_LABS: "ada sam",
    Permission.MANAGE_INSTITUTIONS: "sam",
    Permission.APPOINT: "sam",
    Permission.PUBLISH_TERMS: "sam",
    Permission.CHANGE_ROLES: "ivo ada sam",
    Permission.MOVE_PEOPLE: "ada sam",
    Permission.CHANGE_REQUEST: "ivo ada",
    Permission.DISMISS: "sam",
    Permission.SWITCH_ACCESS: "sam",
    Permission.RESET_SECOND_FACTOR: "sam",
    Permission.CLOSE_PROJECT: "ivo ada sam",
    Permission.REOPEN_PROJECT: "sam",
    Permission.CLOSE_LAB: "ada sam",
    Permission.APPROVE_ACCOUNTS: "sam",
    Permission.SEE_AUDIT: "ivo ada sam ann",
}


def test_every_permission_has_holders_and_a_sentence() -> None:
    assert set(HOLDERS) == set(REFUSALS) == set(Permission) == set(IN_THEIR_LAB)


@pytest.mark.parametrize("permission", [*Permission])
def test_in_their_own_lab(
    permission: Permission, optics: Lab, mei: User, ivo: User, ada: User, sam: User, ann: User, fay: User
) -> None:
    people = {"mei": mei, "ivo": ivo, "ada": ada, "sam": sam, "ann": ann, "fay": fay}
    allowed = {name for name, user in people.items() if has_permission(user, permission, lab=optics)}
    assert allowed == {*IN_THEIR_LAB[permission].split()}


@pytest.mark.parametrize("permission", [*Permission])
def test_nobody_of_another_institution_may_do_anything_here(
    permission: Permission, optics: Lab, otto: User, vera: User
) -> None:
    assert not has_permission(otto, permission, lab=optics)
    assert not has_permission(vera, permission, lab=optics)


def test_a_funder_may_read_the_programme_and_nothing_else(fay: User) -> None:
    assert {permission for permission in Permission if has_permission(fay, permission)} == {
        Permission.SEE_PROGRAMME
    }


def test_a_refusal_is_a_sentence(mei: User, optics: Lab) -> None:
    with pytest.raises(PermissionDenied, match="Ask your PI"):
        check_permission(mei, Permission.REQUEST_HOURS, lab=optics)


def test_who_left_may_nothing(mei: User, optics: Lab) -> None:
    membership = mei.memberships.get()
    membership.ended_at = membership.started_at
    membership.save()
    assert not any(has_permission(User.objects.get(pk=mei.pk), permission) for permission in Permission)
