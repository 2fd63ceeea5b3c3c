"""The pages on which the centre decides on requests."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounting.actions import reviews as actions
from accounting.forms.queue import QueueFilter
from accounting.forms.reviews import DecisionForm
from accounting.models import AllocationRequest, Review
from accounting.reports import decisions
from accounting.reports import queue as waiting
from accounting.units import hours
from accounting.views.requests import listed, request_page, visible_requests
from portal.lists import form_page, order, page_of
from portal.permissions import Permission, check_permission, has_permission
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest
from portal.transitions import Overtaken
from portal.words import figure

SORTS = {
    "age": "submitted_at",
    "decided": "decided_at",
    "asked": "gpu_seconds_asked",
    "institution": "project__lab__institution__name",
    "project": "project__title",
}


@require_safe
def queue(request: PersonRequest) -> HttpResponse:
    """What waits for me first, then the oldest."""
    check_permission(request.user, Permission.DECIDE_REQUEST)
    form = QueueFilter(request.GET)
    show = form.show_now
    narrowed = form.narrow(AllocationRequest.objects.visible_to(request.user))
    unfinished = waiting.unfinished(narrowed)
    found = _sorted(request, narrowed.filter(state__in=QueueFilter.STATES[show]), show)
    page = page_of(request, found, waiting.with_advice(listed()))
    call = form.wanted.get("call")
    context = {
        "page": page,
        "rows": _rows(request, page, "decided_at" if show == form.DECIDED else "submitted_at"),
        "form": form,
        "show": show,
        "filtered": bool({*form.wanted} - {"show"}),
        "choices": [
            (
                key,
                words,
                None if key == form.DECIDED else sum(unfinished[state] for state in form.STATES[key]),
            )
            for key, words in form.CHOICES
        ],
        "waiting": sum(unfinished[state] for state in AllocationRequest.WITH_CENTRE),
        "standing": waiting.standing_of_calls([call])[0] if call else None,
        "decides_refunds": has_permission(request.user, Permission.DECIDE_REFUND),
    }
    return render(request, "accounting/queue.html", context)


@confirm_again
@form_page
def request_decide(request: PersonRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(visible_requests(request), pk=pk)
    if request.method != "POST":
        return redirect("accounting:request", asked.pk)
    actions.check_may_decide(request.user, asked)
    form = DecisionForm(request.POST, asked=asked)
    if not form.is_valid():
        return request_page(request, asked, form)
    try:
        if not form.is_of_latest:
            raise Overtaken(
                _("The lab changed the request and sent it again since you read it. Read it again.")
            )
        messages.success(request, _decided(request, asked, form))
    except Overtaken as overtaken:
        messages.warning(request, str(overtaken))
        return redirect("accounting:request", asked.pk)
    return redirect("accounting:queue")


def _decided(request: PersonRequest, asked: AllocationRequest, form: DecisionForm) -> str:
    """Do what the pressed button says, and say so."""
    words = {"project": asked.project.title}
    by, comment = request.user, form.cleaned_data["comment"]
    match form.cleaned_data["verdict"]:
        case DecisionForm.APPROVE:
            granted = actions.approve_request(by=by, request=asked, **form.award)
            return _said_of_award(asked, form.award["gpu_seconds"], granted is None)
        case DecisionForm.AGREE:
            endorsement = _endorsement(asked, form)
            actions.agree_to_award(by=by, request=asked, endorsement=endorsement, comment=comment)
            return _said_of_award(asked, endorsement.gpu_seconds_awarded, False)
        case DecisionForm.OBJECT:
            endorsement = _endorsement(asked, form)
            actions.object_to_award(by=by, request=asked, endorsement=endorsement, comment=comment)
            return (
                _("Your objection is kept. The request for “%(project)s” waits for the centre again.") % words
            )
        case DecisionForm.RETURN:
            actions.return_request(by=by, request=asked, comment=comment, field_comments=form.field_comments)
            return _("The request for “%(project)s” is back with its lab, with your comment.") % words
        case _verdict:
            actions.reject_request(by=by, request=asked, comment=comment)
            return _("The request for “%(project)s” is rejected; its lab reads your reason.") % words


def _endorsement(asked: AllocationRequest, form: DecisionForm) -> Review:
    """The first approval that the person has read; another one by now is told as such."""
    read = form.cleaned_data["endorsement"]
    for review in asked.reviews.all():
        if str(review.pk) == read and review.verdict == Review.Verdict.ENDORSED:
            return review
    raise Overtaken(_("The first approval has changed since you read it. Read it again, then decide."))


def _said_of_award(asked: AllocationRequest, gpu_seconds: int, endorsed: bool) -> str:
    words = {"project": asked.project.title, "hours": figure(hours(gpu_seconds))}
    if endorsed:
        return (
            _(
                "%(hours)s GPU-hours for “%(project)s” are proposed. A second approver has to agree; they are mailed."
            )
            % words
        )
    if not gpu_seconds:
        return _("The request for “%(project)s” is approved.") % words
    return (
        _("%(hours)s GPU-hours are granted to “%(project)s”. They can be used from the first day on.") % words
    )


def _rows(request: PersonRequest, page: Any, moment: str) -> list[tuple[Any, ...]]:
    """Each request with what its institution had, whose turn it is, and the moment that its list tells."""
    had = decisions.hours_of(asked.project.lab.institution_id for asked in page)
    return [
        (
            asked,
            had.get(asked.project.lab.institution_id, decisions.Hours()),
            waiting.turn_of(asked, request.user, may_decide=actions.may_decide(request.user, asked)),
            getattr(asked, moment),
        )
        for asked in page
    ]


def _sorted(request: PersonRequest, found: Any, show: str) -> Any:
    if request.GET.get("sort", "").lstrip("-") in SORTS:
        return found.order_by(*order(request, SORTS, "age"))
    if show == QueueFilter.WITH_LAB:
        return found.order_by("-submitted_at", "-pk")
    if show == QueueFilter.DECIDED:
        return found.order_by("-decided_at", "-pk")
    return waiting.mine_first(found, request.user).order_by("rank", "submitted_at", "pk")
