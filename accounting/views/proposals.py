"""The page on which a lab proposes a project. Its first request follows at once."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounting.actions import proposals as actions
from accounting.forms.proposals import ProposalForm
from portal.lists import form_page
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest


@form_page
def project_new(request: PersonRequest) -> HttpResponse:
    """?lab=qo, the account of one, chooses the lab."""
    check_permission(request.user, Permission.REQUEST_HOURS)
    data = request.POST if request.method == "POST" else None
    form = ProposalForm(data, user=request.user, initial={"lab": request.GET.get("lab")})
    if form.is_valid():
        project = actions.propose_project(by=request.user, **form.cleaned_data)
        messages.success(
            request,
            _("The project is noted. Now say how many GPU-hours it needs: the centre decides on both."),
        )
        return redirect("accounting:request_new", project.slug)
    return render(request, "accounting/project_form.html", {"form": form})
