"""Invitations: who is invited where, inviting one, and the page that the link in the mail opens."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.actions import invitations as actions
from portal.forms.invitations import CentreInvitationForm, InvitationForm
from portal.lists import form_page, page_of
from portal.models import Institution, Invitation, Lab, User
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission, has_permission
from portal.requests import PersonRequest
from portal.tabs import tabs
from portal.transitions import Overtaken


@require_safe
def invitations(request: PersonRequest) -> HttpResponse:
    """Those that wait for an answer, wherever I invite."""
    check_permission(request.user, Permission.INVITE)
    shown = Invitation.objects.select_related("lab__institution", "institution", "funder")
    context = {
        "page": page_of(request, Invitation.objects.unanswered().visible_to(request.user), shown),
        "tabs": tabs(request, request.user),
        "may_appoint": has_permission(request.user, Permission.APPOINT),
    }
    return render(request, "portal/invitations.html", context)


@form_page
def centre_invite(request: PersonRequest) -> HttpResponse:
    check_permission(request.user, Permission.APPOINT)
    return _invited(request, CentreInvitationForm(request.POST or None), None, reverse("portal:invitations"))


@form_page
def institution_invite(request: PersonRequest, slug: str) -> HttpResponse:
    here = get_object_or_404(Institution.objects.visible_to(request.user), slug=slug)
    actions.check_may_invite(request.user, here)
    return _invited(
        request,
        InvitationForm(request.POST or None, place=here),
        here,
        reverse("portal:institution", args=[slug]),
    )


@form_page
def lab_invite(request: PersonRequest, pk: int) -> HttpResponse:
    here = get_object_or_404(Lab.objects.visible_to(request.user).select_related("institution"), pk=pk)
    actions.check_may_invite(request.user, here)
    return _invited(
        request, InvitationForm(request.POST or None, place=here), here, reverse("portal:lab", args=[pk])
    )


@require_POST
def invitation_again(request: PersonRequest, pk: int) -> HttpResponse:
    invitation = _fetched(request, pk)
    with told_if_overtaken(request):
        actions.send_again(by=request.user, invitation=invitation)
        told = {"email": invitation.email}
        messages.success(request, _("%(email)s gets a new link. The old one no longer opens.") % told)
    return _back(request)


@require_POST
def invitation_revoke(request: PersonRequest, pk: int) -> HttpResponse:
    invitation = _fetched(request, pk)
    with told_if_overtaken(request):
        actions.revoke(by=request.user, invitation=invitation)
        told = {"email": invitation.email}
        messages.success(request, _("The invitation of %(email)s is revoked.") % told)
    return _back(request)


# ── The link in the mail ────────────────────────────────────────────────────


@login_not_required
@form_page
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Opening it changes nothing; accepting is a POST by the person with the invited address."""
    offered = actions.opened_by(token)
    if offered is None:
        return render(request, "portal/link_gone.html", status=410)
    if not isinstance(request.user, User):
        return _for_somebody(request, offered)
    if not actions.is_for(offered, request.user):
        return render(request, "portal/invitation_other.html")
    if request.method != "POST":
        return render(request, "portal/invitation.html", {"invitation": offered})
    return _accepted(request, request.user, offered)


def _for_somebody(request: HttpRequest, offered: Invitation) -> HttpResponse:
    """Whoever holds the link and is logged out logs in, or makes an account with the invited address."""
    request.session["invited_email"] = offered.email
    return render(request, "portal/invitation.html", {"invitation": offered})


def _accepted(request: HttpRequest, user: User, offered: Invitation) -> HttpResponse:
    try:
        membership = actions.accept(by=user, invitation=offered)
        messages.success(request, _("Welcome. You are %(role)s now.") % {"role": membership.role_word})
    except Overtaken as overtaken:
        messages.warning(request, str(overtaken))
        return redirect("home")
    request.session.pop("invited_email", None)
    return _to_work(offered)


def _to_work(taken: Invitation) -> HttpResponse:
    """The page where the new role begins: an admin's first deed is a lab, a PI's an invitation."""
    if taken.lab_id:
        return redirect("portal:lab", taken.lab_id)
    return redirect("portal:institution", taken.institution.slug) if taken.institution else redirect("home")


def _invited(
    request: PersonRequest,
    form: InvitationForm | CentreInvitationForm,
    place: Lab | Institution | None,
    then: str,
) -> HttpResponse:
    if form.is_valid():
        try:
            made = actions.invite(by=request.user, **form.deed)
            messages.success(request, _("%(email)s is invited.") % {"email": made.email})
            return redirect(then)
        except Overtaken as overtaken:
            form.add_error("email", str(overtaken))
    return render(request, "portal/invite.html", {"form": form, "place": place})


def _fetched(request: PersonRequest, pk: int) -> Invitation:
    visible = Invitation.objects.visible_to(request.user)
    return get_object_or_404(visible.select_related("lab__institution", "institution", "funder"), pk=pk)


def _back(request: PersonRequest) -> HttpResponse:
    """To the page with the button: the lab's, the institution's, or the list."""
    then = request.POST.get("next", "")
    safe = then.startswith("/") and then.isprintable() and url_has_allowed_host_and_scheme(then, None)
    return redirect(then if safe else "portal:invitations")
