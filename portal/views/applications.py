"""Institutions apply: the public form, the link in the mail, and the pages on which the centre answers."""

from __future__ import annotations

from contextlib import suppress

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal import countries
from portal.actions import applications as actions
from portal.forms.applications import ApplicationForm, DeclineForm
from portal.forms.institutions import NewInstitutionForm, proposed
from portal.lists import form_page, page_of
from portal.models import Institution, InstitutionApplication, Terms
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest
from portal.tabs import tabs
from portal.transitions import Overtaken

State = InstitutionApplication.State


@login_not_required
@form_page
def apply(request: HttpRequest) -> HttpResponse:
    """For strangers. What it answers does not tell who has applied, or who is registered."""
    agreement = Terms.objects.in_force(Terms.Kind.AGREEMENT)
    form = ApplicationForm(request.POST or None, agreement=agreement)
    if form.is_valid():
        actions.apply(**form.deed)
        return redirect("portal:applied")
    return render(request, "portal/apply.html", {"form": form, "agreement": agreement})


@login_not_required
@require_safe
def applied(request: HttpRequest) -> HttpResponse:
    return render(request, "portal/applied.html")


@login_not_required
@form_page
def application_confirm(request: HttpRequest, token: str) -> HttpResponse:
    """The link in the mail. Opening it changes nothing: mail scanners open links."""
    application = actions.opened_by(token)
    if application is None:
        return render(request, "portal/link_gone.html", status=410)
    if request.method == "POST":
        with suppress(Overtaken):  # the button was pressed twice: the centre has it all the same
            actions.confirm(application=application)
        return render(request, "portal/application_confirmed.html")
    return render(request, "portal/application_confirm.html", {"application": application})


@require_safe
def applications(request: PersonRequest) -> HttpResponse:
    """What institutions ask, the oldest first, and what was answered."""
    check_permission(request.user, Permission.MANAGE_INSTITUTIONS)
    known = InstitutionApplication.objects.exclude(state=State.UNCONFIRMED)
    decided = request.GET.get("show") == "decided"
    waiting = known.filter(state=State.WAITING)
    shown = known.exclude(state=State.WAITING).order_by("-decided_at", "-pk") if decided else waiting
    context = {
        "page": page_of(request, shown),
        "decided": decided,
        "waiting": waiting.count(),
        "tabs": tabs(request, request.user),
    }
    return render(request, "portal/applications.html", context)


@require_safe
def application(request: PersonRequest, pk: int) -> HttpResponse:
    asked = _fetched(request, pk)
    return _page(request, asked, NewInstitutionForm(initial=proposed(asked)), DeclineForm())


@require_POST
def application_accept(request: PersonRequest, pk: int) -> HttpResponse:
    asked = _fetched(request, pk)
    form = NewInstitutionForm(request.POST)
    if not form.is_valid():
        return _page(request, asked, form, DeclineForm())
    try:
        made = actions.accept(by=request.user, application=asked, **form.cleaned_data)
    except Overtaken as overtaken:
        messages.warning(request, str(overtaken))
        return redirect("portal:application", asked.pk)
    told = {"name": made, "email": asked.contact_email}
    messages.success(request, _("%(name)s is registered, and %(email)s is invited.") % told)
    return redirect("portal:institution", made.slug)


@require_POST
def application_decline(request: PersonRequest, pk: int) -> HttpResponse:
    asked = _fetched(request, pk)
    form = DeclineForm(request.POST)
    if not form.is_valid():
        return _page(request, asked, NewInstitutionForm(initial=proposed(asked)), form)
    with told_if_overtaken(request):
        actions.decline(by=request.user, application=asked, **form.cleaned_data)
        messages.success(request, _("Declined. The contact gets your reason by mail."))
    return redirect("portal:application", asked.pk)


def _fetched(request: PersonRequest, pk: int) -> InstitutionApplication:
    check_permission(request.user, Permission.MANAGE_INSTITUTIONS)
    known = InstitutionApplication.objects.exclude(state=State.UNCONFIRMED)
    return get_object_or_404(known.select_related("institution", "agreement"), pk=pk)


def _page(
    request: PersonRequest, asked: InstitutionApplication, form: NewInstitutionForm, decline: DeclineForm
) -> HttpResponse:
    alike = InstitutionApplication.objects.filter(state=State.WAITING, mail_domain=asked.mail_domain)
    context = {
        "asked": asked,
        "country": countries.name_of(asked.country),
        "form": form,
        "decline": decline,
        "is_waiting": asked.state == State.WAITING,
        "same_institutions": Institution.objects.like(asked.name, asked.mail_domain).exclude(
            applications=asked
        )[:5],
        "same_applications": alike.exclude(pk=asked.pk)[:5],
    }
    return render(request, "portal/application.html", context)
