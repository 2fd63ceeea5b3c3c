"""The page on which the PI of a project is asked whether it takes another project's hours."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _

from accounting.actions import consents as actions
from accounting.forms.transfers import AnswerForm
from accounting.models import AllocationRequest
from portal.lists import form_page
from portal.overtaken import told_if_overtaken
from portal.requests import PersonRequest


@form_page
def request_consent(request: PersonRequest, pk: int) -> HttpResponse:
    """It shows what the receiver has to know, and nothing else of the request."""
    offers = AllocationRequest.objects.offered_to(request.user).select_related(
        "project__lab__institution", "project__funder", "to_project__lab", "cluster", "allocation"
    )
    offer = get_object_or_404(offers, pk=pk)
    form = AnswerForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "accounting/consent.html", {"offer": offer, "form": form})
    with told_if_overtaken(request):
        if form.cleaned_data["answer"] == AnswerForm.AGREE:
            actions.give(by=request.user, request=offer)
            messages.success(request, _("You have agreed. Now the centre decides on it."))
        else:
            actions.decline(by=request.user, request=offer, reason=form.cleaned_data["reason"])
            messages.success(request, _("You have declined. Nothing is handed over."))
    return redirect("accounting:request_consent", offer.pk)
