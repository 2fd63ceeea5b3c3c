"""The rules of each cluster for requests and allocations: the centre reads them, staff set them."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounting.actions.policies import set_policy
from accounting.forms.policies import PolicyForm, of_policy
from accounting.models import Cluster, Policy, policy_of
from portal.lists import form_page, page_of
from portal.permissions import Permission, check_permission, has_permission
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest


@require_safe
def policies(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.DECIDE_REQUEST)
    page = page_of(request, Cluster.objects.select_related("policy").order_by("-accepts_jobs", "name"))
    rows = [(cluster, getattr(cluster, "policy", None) or Policy(cluster=cluster)) for cluster in page]
    may_set = has_permission(request.user, Permission.SET_POLICY)
    return render(request, "accounting/policies.html", {"page": page, "rows": rows, "may_set": may_set})


@form_page
@confirm_again
def policy_edit(request: PersonRequest, name: str) -> HttpResponse:
    check_permission(request.user, Permission.SET_POLICY)
    cluster = get_object_or_404(Cluster, name=name)
    form = PolicyForm(request.POST or None, initial=of_policy(policy_of(cluster)))
    if form.is_valid():
        set_policy(by=request.user, cluster=cluster, **form.deed)
        messages.success(request, _("The rules of %(cluster)s are set.") % {"cluster": cluster})
        return redirect("accounting:policies")
    return render(request, "accounting/policy_form.html", {"form": form, "cluster": cluster})
