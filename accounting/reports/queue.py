"""What waits for the centre, in whose order, and whose turn is it?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.utils.translation import gettext as _

from accounting.models import AllocationRequest, Call, Review, TechnicalReview
from portal.models import Role, User
from portal.words import short_day

State = AllocationRequest.State
Requests = QuerySet[AllocationRequest]


def mine_first(requests: Requests, user: User) -> Any:
    """Annotates `rank`: 0 my technical reviews, 1 second approvals that I may give, 2 the rest."""
    my_reviews = TechnicalReview.objects.filter(
        request=OuterRef("pk"), reviewer=user, state=TechnicalReview.State.ASKED
    )
    endorsed = Review.objects.filter(request=OuterRef("pk"), verdict=Review.Verdict.ENDORSED)
    second = Q(state=State.ENDORSED) & ~Q(first_approver=user.pk) & ~Q(created_by=user.pk)
    ranks = [When(Q(Exists(my_reviews)) & Q(state__in=AllocationRequest.WITH_CENTRE), then=Value(0))]
    if Role.APPROVER in user.roles:
        ranks.append(When(second, then=Value(1)))
    return requests.annotate(
        first_approver=Subquery(endorsed.order_by("-pk").values("reviewer")[:1]),
    ).annotate(rank=Case(*ranks, default=Value(2), output_field=IntegerField()))


def with_advice(requests: Requests) -> Requests:
    """With what telling whose turn it is needs."""
    asked = TechnicalReview.objects.select_related("reviewer")
    return requests.prefetch_related(Prefetch("technical_reviews", asked))


def unfinished(requests: Requests) -> Counter[str]:
    """How many are in each state that is not over: one query. All that was ever decided took longer to count than to show."""
    found = requests.filter(state__in=(*AllocationRequest.WITH_CENTRE, State.RETURNED))
    return Counter(dict(found.order_by().values_list("state").annotate(n=Count("pk"))))


@dataclass(frozen=True)
class CallStanding:
    """What was asked under a call against what is to be given out, in GPU-seconds."""

    call: Call
    requests: int
    asked: int
    awarded: int

    @property
    def over(self) -> int:
        return max(self.asked - (self.call.gpu_seconds or self.asked), 0)

    @property
    def left(self) -> int | None:
        return None if self.call.gpu_seconds is None else self.call.gpu_seconds - self.awarded


def standing_of_calls(calls: list[Call]) -> list[CallStanding]:
    """Two queries, whatever their number. Drafts and what was withdrawn are not asked."""
    sent = AllocationRequest.objects.filter(call__in=calls).exclude(state__in=(State.DRAFT, State.WITHDRAWN))
    asked = {
        row["call"]: row
        for row in sent.order_by()
        .values("call")
        .annotate(n=Count("pk"), sum=Sum("gpu_seconds_asked", default=0))
    }
    approved = Review.objects.filter(request__call__in=calls, verdict=Review.Verdict.APPROVED)
    awarded = {
        row["call"]: row["sum"]
        for row in approved.order_by()
        .values(call=F("request__call"))
        .annotate(sum=Sum("gpu_seconds_awarded", default=0))
    }
    none = {"n": 0, "sum": 0}
    return [
        CallStanding(
            call,
            asked.get(call.pk, none)["n"],
            asked.get(call.pk, none)["sum"],
            awarded.get(call.pk, 0),
        )
        for call in calls
    ]


# ── Whose turn is it? ────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Turn:
    """Who has to do something about a request now."""

    word: str
    tone: Literal["busy", "wait", "warn", "off"]
    icon: str
    hint: str = ""


def turn_of(request: AllocationRequest, user: User, *, may_decide: bool) -> Turn | None:
    """Whose turn it is, seen by `user` of the centre; None: nobody's, it is decided. Needs `with_advice`."""
    if request.is_open:
        return Turn(_("the lab's"), "warn", "arrow-back-up", _("It changes the request and sends it again."))
    if not request.is_waiting:
        return None
    asked = [
        review for review in request.technical_reviews.all() if review.state == TechnicalReview.State.ASKED
    ]
    mine = next((review for review in asked if review.reviewer_id == user.pk), None)
    if mine:
        return Turn(_("yours: review until %(day)s") % {"day": short_day(mine.due)}, "busy", "hand-stop")
    if request.state == State.ENDORSED:
        return _second(may_decide)
    if asked:
        who = ", ".join(str(review.reviewer) for review in asked)
        words = _("reviewer %(who)s, until %(day)s") % {"who": who, "day": short_day(asked[0].due)}
        return Turn(words, "wait", "eyeglass", _("A decision need not wait for it."))
    if may_decide:
        return Turn(_("yours"), "busy", "hand-stop")
    hint = _("Nobody decides on their own request, or on one of their own lab.")
    return Turn(_("a colleague's"), "off", "user", hint)


def _second(may_decide: bool) -> Turn:
    if may_decide:
        return Turn(_("yours: second approval"), "busy", "hand-stop")
    return Turn(_("a second approver's"), "wait", "users", _("The first approval is given."))
