"""Whose hours are they? Nobody of the centre decides on those of their own lab or institution."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext as _

from portal.models import Lab, User


def is_own(user: User, lab: Lab) -> bool:
    """Whether `user` belongs to the lab, or to its institution."""
    return any(
        (m.lab_id and m.lab_id == lab.pk) or (m.institution_id and m.institution_id == lab.institution_id)
        for m in user.current_memberships
    )


def check_not_own_lab(user: User, lab: Lab) -> None:
    if is_own(user, lab):
        raise PermissionDenied(
            _("Nobody decides on hours of their own lab or institution. A colleague has to.")
        )
