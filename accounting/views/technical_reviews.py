"""What the centre does about technical reviews of a request."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounting.actions import technical_reviews as actions
from accounting.forms.technical_reviews import AskReviewForm, WriteReviewForm
from accounting.models import TechnicalReview
from accounting.views.deciding import colleagues
from accounting.views.requests import request_page, visible_requests
from portal.lists import form_page
from portal.overtaken import told_if_overtaken
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest
from portal.words import day


@form_page
def review_ask(request: PersonRequest, pk: int) -> HttpResponse:
    asked = get_object_or_404(visible_requests(request), pk=pk)
    check_permission(request.user, Permission.ASK_FOR_REVIEW)
    form = AskReviewForm(request.POST or None, colleagues=colleagues(asked))
    if not form.is_valid():
        return render(request, "accounting/review_ask.html", {"form": form, "asked": asked})
    with told_if_overtaken(request):
        review = actions.ask_for_review(by=request.user, request=asked, **form.deed)
        words = {"reviewer": review.reviewer, "day": day(review.due)}
        messages.success(request, _("%(reviewer)s is asked for a review until %(day)s.") % words)
    return redirect("accounting:request", asked.pk)


@require_POST
def review_write(request: PersonRequest, pk: int) -> HttpResponse:
    review = _reviewed(request, pk)
    actions.check_reviewer(request.user, review)
    form = WriteReviewForm(request.POST)
    if not form.is_valid():
        asked = get_object_or_404(visible_requests(request), pk=review.request_id)
        return request_page(request, asked, write_form=form)
    with told_if_overtaken(request):
        score, comment = form.cleaned_data["score"], form.cleaned_data["review"]
        actions.write_review(by=request.user, review=review, score=score, comment=comment)
        messages.success(request, _("Your review is kept. Who decides reads it; the lab does not."))
    return redirect("accounting:request", review.request_id)


@require_POST
def review_conflict(request: PersonRequest, pk: int) -> HttpResponse:
    review = _reviewed(request, pk)
    with told_if_overtaken(request):
        actions.declare_conflict(by=request.user, review=review)
        messages.success(request, _("Thank you. Somebody else reviews and decides on this request."))
    return redirect("accounting:request", review.request_id)


@require_POST
def review_call_off(request: PersonRequest, pk: int) -> HttpResponse:
    review = _reviewed(request, pk)
    with told_if_overtaken(request):
        actions.call_off_review(by=request.user, review=review)
        messages.success(
            request, _("%(reviewer)s need not review it any more.") % {"reviewer": review.reviewer}
        )
    return redirect("accounting:request", review.request_id)


def _reviewed(request: PersonRequest, pk: int) -> TechnicalReview:
    visible = TechnicalReview.objects.of_centre(request.user)
    return get_object_or_404(visible.select_related("request__project__lab", "reviewer"), pk=pk)
