"""The pages on which a role ends, changes or moves. Each says beforehand what will happen."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _

from portal.actions import memberships as actions
from portal.forms.memberships import EndForm, MoveForm, RoleForm
from portal.lists import form_page
from portal.models import Lab, Membership
from portal.requests import PersonRequest
from portal.transitions import Overtaken


@form_page
def membership_end(request: PersonRequest, pk: int) -> HttpResponse:
    membership = visible(request, pk)
    actions.check_may_end(request.user, membership)
    form = EndForm(membership, request.POST or ({} if request.method == "POST" else None))
    if form.is_valid():
        try:
            actions.end(by=request.user, membership=membership, **form.deed)
        except actions.NeedsPI as needs:
            form.add_error("successor" if "successor" in form.fields else None, str(needs))
        except Overtaken as overtaken:
            messages.warning(request, str(overtaken))
            return redirect("portal:people")
        else:
            messages.success(request, _said_of_end(request, membership))
            return redirect("home" if membership.user_id == request.user.pk else "portal:people")
    return render(request, "portal/membership_end.html", _context(request, membership, form))


@form_page
def membership_role(request: PersonRequest, pk: int) -> HttpResponse:
    membership = visible(request, pk)
    actions.check_may_change(request.user, membership)
    form = RoleForm(request.POST or None, initial={"role": membership.role})
    if form.is_valid():
        try:
            changed = actions.change_role(by=request.user, membership=membership, **form.cleaned_data)
        except actions.NeedsPI as needs:
            form.add_error("role", str(needs))
        except Overtaken as overtaken:
            messages.warning(request, str(overtaken))
            return redirect("portal:people")
        else:
            messages.success(
                request,
                _("%(person)s is %(role)s of %(place)s now.")
                % {"person": changed.user, "role": changed.role_word, "place": changed.place},
            )
            return redirect("portal:people")
    return render(request, "portal/membership_role.html", _context(request, membership, form))


@form_page
def membership_move(request: PersonRequest, pk: int) -> HttpResponse:
    membership = visible(request, pk)
    actions.check_may_move(request.user, membership)
    form = MoveForm(request.user, membership, request.POST or None, initial={"role": membership.role})
    if form.is_valid():
        try:
            moved = actions.move(by=request.user, membership=membership, **form.cleaned_data)
        except actions.NeedsPI as needs:
            form.add_error(None, str(needs))
        except Overtaken as overtaken:
            messages.warning(request, str(overtaken))
            return redirect("portal:people")
        else:
            messages.success(
                request, _("%(person)s is in %(lab)s now.") % {"person": moved.user, "lab": moved.lab}
            )
            return redirect("portal:people")
    return render(request, "portal/membership_move.html", _context(request, membership, form))


def visible(request: PersonRequest, pk: int) -> Membership:
    """A role that holds today, within sight."""
    current = Membership.objects.current().visible_to(request.user)
    return get_object_or_404(
        current.select_related("user", "lab__institution", "institution", "funder"), pk=pk
    )


def _context(request: PersonRequest, membership: Membership, form: Any) -> dict[str, Any]:
    return {
        "membership": membership,
        "person": membership.user,
        "form": form,
        "oneself": membership.user_id == request.user.pk,
        "projects": _projects(membership.lab),
    }


def _projects(lab: Lab | None) -> list[str]:
    """Titles of the active projects whose jobs end with the role."""
    return list(lab.projects.active().values_list("title", flat=True)[:20]) if lab else []


def _said_of_end(request: PersonRequest, membership: Membership) -> str:
    if membership.user_id == request.user.pk:
        return _("You left %(place)s.") % {"place": membership.place or _("the centre")}
    return _("%(person)s is no longer %(role)s of %(place)s.") % {
        "person": membership.user,
        "role": membership.role_word,
        "place": membership.place or _("the centre"),
    }
