"""Calls for requests: everybody who can ask reads the open ones, staff keep them all."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounting.actions import calls as actions
from accounting.forms.calls import CallForm, of_call
from accounting.models import Call
from accounting.reports.queue import standing_of_calls
from portal.lists import form_page, page_of
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission, has_permission
from portal.requests import PersonRequest


@require_safe
def calls(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.SEE_CALLS)
    decides = has_permission(request.user, Permission.DECIDE_REQUEST)
    shown = Call.objects.order_by("-closes_at", "-pk") if decides else Call.objects.open()
    page = page_of(request, shown.select_related("cluster"))
    context = {
        "page": page,
        "standings": standing_of_calls(list(page)),
        "open_count": Call.objects.open().count(),
        "decides": decides,
        "keeps": has_permission(request.user, Permission.KEEP_CALLS),
    }
    return render(request, "accounting/calls.html", context)


@form_page
def call_new(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.KEEP_CALLS)
    form = CallForm(request.POST or None)
    if form.is_valid():
        call = actions.make_call(by=request.user, **form.deed)
        messages.success(request, _("The call “%(call)s” is there.") % {"call": call.title})
        return redirect("accounting:calls")
    return render(request, "accounting/call_form.html", {"form": form, "call": None})


@form_page
def call_edit(request: PersonRequest, pk: int) -> HttpResponse:
    check_permission(request.user, Permission.KEEP_CALLS)
    call = get_object_or_404(Call, pk=pk)
    form = CallForm(request.POST or None, initial=of_call(call))
    if form.is_valid():
        actions.change_call(by=request.user, call=call, **form.deed)
        messages.success(request, _("The call “%(call)s” is changed.") % {"call": call.title})
        return redirect("accounting:calls")
    return render(request, "accounting/call_form.html", {"form": form, "call": call})


@require_POST
def call_close(request: PersonRequest, pk: int) -> HttpResponse:
    check_permission(request.user, Permission.KEEP_CALLS)
    call = get_object_or_404(Call, pk=pk)
    with told_if_overtaken(request):
        actions.close_call(by=request.user, call=call)
        messages.success(request, _("The call “%(call)s” takes no more requests.") % {"call": call.title})
    return redirect("accounting:calls")
