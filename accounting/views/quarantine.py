"""Records that could not be read: staff look at each, and note what it was."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounting.actions.quarantine import look_at_record
from accounting.forms.measuring import LookedForm, ShownForm
from accounting.models import QuarantinedRecord
from portal.lists import form_page, page_of
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest


@require_safe
def quarantine(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CLUSTERS)
    form = ShownForm(request.GET)
    records = QuarantinedRecord.objects.select_related("cluster", "looked_by")
    context = {
        "form": form,
        "page": page_of(request, records if form.shows_all else records.unseen()),
        "unseen": QuarantinedRecord.objects.unseen().count(),
    }
    return render(request, "accounting/quarantine.html", context)


@form_page
def quarantined_record(request: PersonRequest, pk: int) -> HttpResponse:
    """One of them, whole, and what to say of it."""
    check_permission(request.user, Permission.SEE_CLUSTERS)
    record = get_object_or_404(QuarantinedRecord.objects.select_related("cluster", "looked_by"), pk=pk)
    form = LookedForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        with told_if_overtaken(request):
            look_at_record(by=request.user, quarantined=record, **form.cleaned_data)
            messages.success(request, _("Noted: the record has been looked at."))
        return redirect("accounting:quarantine")
    return render(request, "accounting/quarantined_record.html", {"record": record, "form": form})
