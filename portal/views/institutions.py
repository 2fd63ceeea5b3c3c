"""The pages of institutions: which there are, what is in one, and how the centre keeps them."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import F
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from portal import countries
from portal.actions import institutions as actions
from portal.forms.institutions import InstitutionForm, LabForm, RegistrationForm
from portal.forms.joining import LabSearch
from portal.lists import form_page, page_of
from portal.models import Institution, Invitation, Lab, Membership
from portal.permissions import Permission, check_permission, has_permission
from portal.places import institutions_with_counts, labs_with_counts
from portal.requests import PersonRequest
from portal.tabs import tabs
from portal.transitions import Overtaken


@require_safe
def institutions(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.SEE_PEOPLE)
    form = LabSearch(request.GET)
    found = Institution.objects.visible_to(request.user)
    for word in form.cleaned_data["q"].split() if form.is_valid() else ():
        found = found.filter(name__icontains=word)
    page = page_of(request, found.order_by("name", "pk"), institutions_with_counts(Institution.objects.all()))
    for row in page:
        row.country_name = countries.name_of(row.country)
    context = {
        "page": page,
        "form": form,
        "filtered": any(form.cleaned_data.values()),
        "tabs": tabs(request, request.user),
        "may_register": has_permission(request.user, Permission.MANAGE_INSTITUTIONS),
    }
    return render(request, "portal/institutions.html", context)


@require_safe
def institution(request: PersonRequest, slug: str) -> HttpResponse:
    here = get_object_or_404(Institution.objects.visible_to(request.user), slug=slug)
    user = request.user
    labs = (
        Lab.objects.visible_to(user)
        .filter(institution=here)
        .order_by(F("closed_at").asc(nulls_first=True), "name", "pk")
    )
    invites = has_permission(user, Permission.INVITE, institution=here)
    context = {
        "institution": here,
        "country": countries.name_of(here.country),
        "page": page_of(request, labs, labs_with_counts(Lab.objects.all())),
        "admins": Membership.objects.current().filter(institution=here).select_related("user"),
        "invitations": Invitation.objects.unanswered().filter(institution=here) if invites else [],
        "may_invite": invites,
        "may_make_labs": has_permission(user, Permission.MANAGE_LABS, institution=here),
        "may_edit": has_permission(user, Permission.MANAGE_INSTITUTIONS),
        "sees_all": invites or has_permission(user, Permission.DECIDE_REQUEST),
    }
    return render(request, "portal/institution.html", context)


@form_page
def institution_register(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.MANAGE_INSTITUTIONS)
    form = RegistrationForm(request.POST or None)
    if form.is_valid():
        try:
            made = actions.register_institution(by=request.user, **form.cleaned_data)
            messages.success(request, _("%(name)s is registered.") % {"name": made})
            _point_out_others(request, made)
            return redirect("portal:institution", made.slug)
        except Overtaken as overtaken:
            form.add_error(None, str(overtaken))
    return render(request, "portal/institution_form.html", {"form": form, "institution": None})


@form_page
def institution_edit(request: PersonRequest, slug: str) -> HttpResponse:
    here = get_object_or_404(Institution.objects.visible_to(request.user), slug=slug)
    check_permission(request.user, Permission.MANAGE_INSTITUTIONS)
    form = InstitutionForm(request.POST or None, of=here)
    if form.is_valid():
        try:
            actions.change_institution(by=request.user, institution=here, **form.cleaned_data)
            messages.success(request, _("Saved."))
            _point_out_others(request, Institution.objects.get(pk=here.pk))
            return redirect("portal:institution", here.slug)
        except Overtaken as overtaken:
            form.add_error(None, str(overtaken))
    return render(request, "portal/institution_form.html", {"form": form, "institution": here})


def _point_out_others(request: PersonRequest, here: Institution) -> None:
    """Two institutions may share a mail domain, but most often it is one that was registered twice."""
    for other in Institution.objects.like(here.name, here.mail_domain).exclude(pk=here.pk)[:3]:
        told = {"name": other, "domain": here.mail_domain}
        messages.warning(request, _("%(name)s has the mail domain %(domain)s, too.") % told)


@form_page
def lab_new(request: PersonRequest, slug: str) -> HttpResponse:
    here = get_object_or_404(Institution.objects.visible_to(request.user), slug=slug)
    check_permission(request.user, Permission.MANAGE_LABS, institution=here)
    form = LabForm(request.POST or None, institution=here)
    if form.is_valid():
        try:
            lab = actions.create_lab(by=request.user, institution=here, **form.cleaned_data)
            told = {"lab": lab, "email": form.cleaned_data["pi"]}
            messages.success(request, _("%(lab)s is there. %(email)s is invited to lead it.") % told)
            return redirect("portal:lab", lab.pk)
        except Overtaken as overtaken:
            form.add_error(None, str(overtaken))
    return render(request, "portal/lab_form.html", {"form": form, "institution": here})
