"""The award letter: what was granted to whom, for how long, under which conditions, as a PDF.

Made from the database alone, each time anew: the same award in the same language is the same bytes. WeasyPrint draws it
and fetches nothing; the one style sheet is read from here. Drawing takes ten times as long as writing, so a letter that
several people open is drawn once.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.template.loader import render_to_string
from weasyprint import CSS, HTML
from weasyprint.urls import URLFetcher

from accounting.models import AllocationRequest, Review
from portal.models import Membership, Role

STYLE = Path(__file__).parent / "static" / "accounting" / "letter.css"


class NothingFetched(URLFetcher):  # type: ignore[misc]  # WeasyPrint has no types
    """A letter is drawn from what it is given: no address in somebody's words is ever opened."""

    def fetch(self, url: str, headers: Any = None) -> NoReturn:
        raise ValueError(f"A letter fetches nothing: {url[:100]}")


def award_letter(request: AllocationRequest, review: Review) -> bytes:
    """The PDF of an approved request, in the language of who reads it."""
    pis = Membership.objects.current().filter(lab=request.project.lab, role=Role.PI).select_related("user")
    context = {
        "asked": request,
        "review": review,
        "centre_name": settings.CENTRE_NAME,
        "pis": [membership.user for membership in pis.order_by("user__name", "pk")],
        "tranches": list(review.tranches.all()),
        "first": _first_approver(request, review),
        "end": review.end_awarded or request.end,
    }
    return _drawn(render_to_string("accounting/letter.html", context), f"award {review.pk}")


@lru_cache(maxsize=64)  # of some 20 KB
def _drawn(text: str, identifier: str) -> bytes:
    html = HTML(string=text, url_fetcher=NothingFetched())
    pdf: bytes = html.write_pdf(
        stylesheets=[CSS(string=STYLE.read_text())], pdf_identifier=identifier.encode()
    )
    return pdf


def _first_approver(request: AllocationRequest, review: Review) -> Review | None:
    """Who approved first, where two did."""
    before = [
        one for one in request.reviews.all() if one.verdict == Review.Verdict.ENDORSED and one.pk < review.pk
    ]
    return max(before, key=lambda one: one.pk, default=None)
