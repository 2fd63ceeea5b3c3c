"""What the centre's staff do about POSIX users: say yes, where their cluster wants to be asked."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from jobs import actions
from jobs.models import ClusterAccount
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest


@require_POST
def account_approve(request: PersonRequest, pk: int) -> HttpResponse:
    check_permission(request.user, Permission.APPROVE_ACCOUNTS)
    account = get_object_or_404(ClusterAccount.objects.select_related("cluster"), pk=pk)
    with told_if_overtaken(request):
        actions.approve_account(by=request.user, account=account)
        messages.success(request, _("%(username)s is asked for now.") % {"username": account.username})
    return redirect("jobs:clusters")
