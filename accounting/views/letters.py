"""The award letter, for whoever sees the request."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from accounting.letters import award_letter
from accounting.models import AllocationRequest
from accounting.views.requests import visible_requests
from portal.requests import PersonRequest


@require_safe
def letter(request: PersonRequest, pk: int) -> HttpResponse:
    approved = visible_requests(request).filter(state=AllocationRequest.State.APPROVED)
    asked = get_object_or_404(approved, pk=pk)
    review = asked.decision
    if review is None:  # granted before reviews were kept
        raise Http404
    answer = HttpResponse(award_letter(asked, review), content_type="application/pdf")
    answer["Content-Disposition"] = f'inline; filename="award-{asked.pk}.pdf"'
    return answer
