"""A lab's page, inviting into it, and asking to join one."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from portal.actions import bulk_invitations, joining
from portal.actions.bulk_invitations import Fate
from portal.actions.invitations import check_may_invite
from portal.forms.invitations import BulkForm
from portal.forms.joining import JoinForm, LabSearch
from portal.forms.selects import LabChoice, typed
from portal.lists import PER_PAGE, form_page, page_of
from portal.mail_domains import verified_domains
from portal.models import Invitation, JoinRequest, Lab, Membership
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, has_permission
from portal.requests import PersonRequest

NEWEST = 5  # invitations beside the people; their own page has all


@require_safe
def lab(request: PersonRequest, pk: int) -> HttpResponse:
    here = _fetched(request, pk)
    leads = has_permission(request.user, Permission.INVITE, lab=here)
    members = Membership.objects.current().filter(lab=here).select_related("user")
    invitations = list(Invitation.objects.unanswered().filter(lab=here)[: NEWEST + 1]) if leads else []
    asked = JoinRequest.objects.waiting().filter(lab=here).select_related("user")
    context = {
        "lab": here,
        "page": page_of(request, members.order_by("-role", "user__name", "pk")),
        "projects": here.projects.all()[:PER_PAGE],
        "invitations": invitations[:NEWEST],
        "more_invitations": len(invitations) > NEWEST,
        "asked": asked[:PER_PAGE] if leads else [],
        "leads": leads,
        "may_close": has_permission(request.user, Permission.CLOSE_LAB, lab=here),
        "may_move": has_permission(request.user, Permission.MOVE_PEOPLE, lab=here),
        "may_propose": here.closed_at is None
        and has_permission(request.user, Permission.REQUEST_HOURS, lab=here),
    }
    return render(request, "portal/lab.html", context)


@form_page
def lab_invite_many(request: PersonRequest, pk: int) -> HttpResponse:
    """First it shows what would happen; nothing is sent before that is confirmed."""
    here = _fetched(request, pk)
    check_may_invite(request.user, here)
    form = BulkForm(request.POST or None, request.FILES or None)
    if not form.is_valid():
        return render(request, "portal/invite_many.html", {"form": form, "lab": here})
    told = {"people": form.cleaned_data["found"], "role": form.cleaned_data["role"]}
    if "confirm" in request.POST:
        with told_if_overtaken(request):
            lines = bulk_invitations.invite_all(by=request.user, lab=here, **told)
            messages.success(request, _said_of(lines))
        return redirect("portal:lab", here.pk)
    lines = bulk_invitations.look_through(by=request.user, lab=here, **told)
    shown = BulkForm(initial={"people": form.cleaned_data["text"], "role": form.cleaned_data["role"]})
    new = sum(line.fate is Fate.NEW for line in lines)
    return render(
        request, "portal/invite_many.html", {"form": shown, "lab": here, "lines": lines, "new": new}
    )


def _said_of(lines: list[bulk_invitations.Line]) -> str:
    sent = sum(line.fate is Fate.NEW for line in lines)
    said = ngettext("%(n)s invitation is on its way.", "%(n)s invitations are on their way.", sent) % {
        "n": sent
    }
    left = len(lines) - sent
    rest = ngettext("%(n)s line was left out.", "%(n)s lines were left out.", left) % {"n": left}
    return f"{said} {rest}" if left else said


@require_safe
def lab_names(request: PersonRequest) -> HttpResponse:
    """?lab=quan: the open labs whose name, or whose institution's, has those words, as options of a field."""
    found = Lab.objects.open().visible_to(request.user)
    for word in typed(request, "lab"):
        named = Q(name__icontains=word) | Q(account__icontains=word) | Q(institution__name__icontains=word)
        found = found.filter(named)
    names = LabChoice.named(found.order_by("institution__name", "name")[:PER_PAGE])
    return render(request, "portal/partials/options.html", {"options": names})


# ── Asking to join ──────────────────────────────────────────────────────────


@require_safe
def labs_to_join(request: PersonRequest) -> HttpResponse:
    """The labs that somebody with my address may ask to join, and what became of what I asked."""
    form = LabSearch(request.GET)
    found = _joinable(request).select_related("institution").order_by("institution__name", "name", "pk")
    for word in form.cleaned_data["q"].split() if form.is_valid() else ():
        found = found.filter(name__icontains=word)
    mine = JoinRequest.objects.filter(user=request.user).select_related("lab__institution")
    context = {
        "page": page_of(request, found),
        "form": form,
        "filtered": any(form.cleaned_data.values()),
        "mine": mine.order_by("-created_at")[:PER_PAGE],
        "asked_labs": set(mine.waiting().values_list("lab", flat=True)),
        "member_labs": {membership.lab_id for membership in request.user.current_memberships},
    }
    return render(request, "portal/labs_to_join.html", context)


@form_page
def lab_join(request: PersonRequest, pk: int) -> HttpResponse:
    here = get_object_or_404(_joinable(request).select_related("institution"), pk=pk)
    form = JoinForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "portal/lab_join.html", {"form": form, "lab": here})
    with told_if_overtaken(request):
        joining.ask_to_join(by=request.user, lab=here, **form.cleaned_data)
        messages.success(request, _("The lab's PI has your request. You get a mail with the answer."))
    return redirect("portal:labs_to_join")


@require_POST
def join_accept(request: PersonRequest, pk: int) -> HttpResponse:
    asked = _asked(request, pk)
    with told_if_overtaken(request):
        joining.accept_request(by=request.user, asked=asked)
        told = {"person": asked.user, "lab": asked.lab}
        messages.success(request, _("%(person)s works in %(lab)s now.") % told)
    return redirect("portal:lab", asked.lab_id)


@require_POST
def join_decline(request: PersonRequest, pk: int) -> HttpResponse:
    asked = _asked(request, pk)
    with told_if_overtaken(request):
        joining.decline_request(by=request.user, asked=asked)
        messages.success(request, _("Declined. %(person)s gets a mail.") % {"person": asked.user})
    return redirect("portal:lab", asked.lab_id)


@require_POST
def join_withdraw(request: PersonRequest, pk: int) -> HttpResponse:
    mine = JoinRequest.objects.filter(user=request.user)
    asked = get_object_or_404(mine.select_related("lab"), pk=pk)
    with told_if_overtaken(request):
        joining.withdraw_request(by=request.user, asked=asked)
        messages.success(request, _("Your request is withdrawn."))
    return redirect("portal:labs_to_join")


def _fetched(request: PersonRequest, pk: int) -> Lab:
    return get_object_or_404(Lab.objects.visible_to(request.user).select_related("institution"), pk=pk)


def _joinable(request: PersonRequest) -> QuerySet[Lab]:
    return Lab.objects.joinable_from(verified_domains(request.user))


def _asked(request: PersonRequest, pk: int) -> JoinRequest:
    visible = JoinRequest.objects.visible_to(request.user)
    return get_object_or_404(visible.select_related("user", "lab__institution"), pk=pk)
