"""The terms: everybody reads them, people accept them, the centre publishes a new version."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.actions import terms as actions
from portal.forms.terms import KindForm, TermsForm
from portal.lists import form_page
from portal.models import Terms, TermsAcceptance, User
from portal.permissions import Permission, check_permission, has_permission
from portal.requests import PersonRequest
from portal.transitions import Overtaken


@login_not_required
@require_safe
def terms(request: HttpRequest) -> HttpResponse:
    """The text in force. For who is logged in, also whether they accepted it."""
    kind = _kind(request)
    latest = Terms.objects.in_force(kind)
    user = request.user if isinstance(request.user, User) else None
    acceptance = TermsAcceptance.objects.filter(user=user, terms=latest).first() if user and latest else None
    context = {
        "terms": latest,
        "kind": kind,
        "is_of_use": kind == Terms.Kind.USE,
        "acceptance": acceptance,
        "may_publish": bool(user and has_permission(user, Permission.PUBLISH_TERMS)),
    }
    return render(request, "portal/terms.html", context)


@require_POST
def terms_accept(request: PersonRequest) -> HttpResponse:
    """The button says which version was on the page."""
    version = request.POST.get("version", "")
    number = int(version) if version.isascii() and version.isdecimal() and len(version) < 9 else 0
    read = Terms.objects.filter(kind=Terms.Kind.USE, version=number).first()
    if read is None:
        messages.warning(request, _("There is no such version. Read the one in force."))
        return redirect("portal:terms")
    try:
        actions.accept(by=request.user, terms=read)
        messages.success(request, _("Accepted. You can submit jobs."))
    except Overtaken as overtaken:
        messages.warning(request, str(overtaken))
        return redirect("portal:terms")
    return redirect("home")


@form_page
def terms_publish(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.PUBLISH_TERMS)
    kind = _kind(request)
    latest = Terms.objects.in_force(kind)
    form = TermsForm(request.POST or None, latest=latest)
    if form.is_valid():
        try:
            made = actions.publish(by=request.user, kind=kind, **form.cleaned_data)
            messages.success(request, _("Version %(n)s is in force.") % {"n": made.version})
            return redirect("portal:terms")
        except Overtaken as overtaken:
            form.add_error(None, str(overtaken))
    context = {"form": form, "latest": latest, "kind": kind}
    return render(request, "portal/terms_form.html", context)


def _kind(request: HttpRequest) -> str:
    form = KindForm(request.GET)
    return form.cleaned_data["kind"] if form.is_valid() else Terms.Kind.USE
