"""The pages on which staff switch a person's access off and on, and reset a lost second factor."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from portal.actions import access as actions
from portal.forms.access import ResetForm, SwitchOffForm
from portal.lists import form_page
from portal.models import User
from portal.overtaken import told_if_overtaken
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest


@form_page
@confirm_again
def access_off(request: PersonRequest, pk: int) -> HttpResponse:
    person = _visible(request, pk)
    actions.check_may_switch(request.user, person)
    form = SwitchOffForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "portal/access_off.html", {"person": person, "form": form})
    return _done(
        request,
        person,
        lambda: actions.switch_off(by=request.user, person=person, **form.cleaned_data),
        _("The access of %(person)s is switched off. What they have on clusters is being taken away."),
    )


@require_POST
@confirm_again
def access_on(request: PersonRequest, pk: int) -> HttpResponse:
    person = _visible(request, pk)
    return _done(
        request,
        person,
        lambda: actions.switch_on(by=request.user, person=person),
        _("%(person)s can log in again."),
    )


@form_page
@confirm_again
def second_factor_reset(request: PersonRequest, pk: int) -> HttpResponse:
    person = _visible(request, pk)
    actions.check_may_reset(request.user, person)
    form = ResetForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "portal/second_factor_reset.html", {"person": person, "form": form})
    return _done(
        request,
        person,
        lambda: actions.reset_second_factor(by=request.user, person=person, **form.cleaned_data),
        _("The second factor of %(person)s is reset, and a mail says so. Their password is as it was."),
    )


def _visible(request: PersonRequest, pk: int) -> User:
    return get_object_or_404(User.objects.visible_to(request.user), pk=pk)


def _done(request: PersonRequest, person: User, deed: Callable[[], None], said: str) -> HttpResponse:
    with told_if_overtaken(request):
        deed()
        messages.success(request, said % {"person": person})
    return redirect("portal:person", person.pk)
