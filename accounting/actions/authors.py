"""Who may write a request for hours? Those who ask; whoever reads it for the centre leaves it as it is."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied

from accounting.models import AllocationRequest
from portal.models import User
from portal.permissions import Permission, check_permission


def check_may_write(by: User, request: AllocationRequest) -> None:
    """Raise PermissionDenied unless `by` asks for that lab. Staff may change what they began themselves, on its behalf."""
    check_permission(by, Permission.REQUEST_HOURS, lab=request.project.lab)
    if request.created_by_id != by.pk:
        check_permission(by, Permission.CHANGE_REQUEST, lab=request.project.lab)


def may_write(by: User, request: AllocationRequest) -> bool:
    """Whether to offer it; the deed asks again."""
    try:
        check_may_write(by, request)
    except PermissionDenied:
        return False
    return True
