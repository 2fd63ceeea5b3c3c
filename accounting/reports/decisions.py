"""What waits for whom, what was asked and decided so far, and how it came to that?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from django.db.models import Case, CharField, Count, Q, QuerySet, Sum, Value, When, Window
from django.db.models.functions import RowNumber
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy

from accounting.models import (
    COMMENTABLE,
    AllocationRequest,
    LedgerEntry,
    LedgerSum,
    Review,
    TechnicalReview,
    Tranche,
)
from accounting.models.requests import AllocationRequestQuerySet
from accounting.reports.queue import mine_first
from portal.models import AuditEvent, Role, User
from portal.models.people import CENTRE_ROLES

Verdict = Review.Verdict

# ── What waits for me? ───────────────────────────────────────────────────────


@dataclass(frozen=True)
class Waiting:
    """Requests whose next step is the person's: to review, to decide on, to agree to, or to finish and send."""

    to_review: list[TechnicalReview] = field(default_factory=list)
    to_decide: list[AllocationRequest] = field(default_factory=list)
    to_decide_count: int = 0
    to_consent: list[AllocationRequest] = field(default_factory=list)
    to_finish: list[AllocationRequest] = field(default_factory=list)


SHOWN = ("project__lab__institution", "cluster", "created_by")
UNSENT = (AllocationRequest.State.DRAFT, AllocationRequest.State.RETURNED)


def waiting_for(user: User, *, most: int = 5) -> Waiting:
    """For Home. The centre decides, oldest first; a PI finishes drafts and what was returned."""
    finish, consent = _of_led_labs(user, most)
    if not user.roles & {*CENTRE_ROLES}:
        return Waiting(to_consent=consent, to_finish=finish)
    to_review = TechnicalReview.objects.waiting_for(user).select_related("request__project__lab")
    to_decide = to_decide_by(user, AllocationRequest.objects.visible_to(user)).values_list("pk", flat=True)
    decide = list(to_decide)  # what is told of each is fetched of the first ones alone
    first = AllocationRequest.objects.select_related(*SHOWN).in_bulk(decide[:most])
    return Waiting(
        to_review=list(to_review.order_by("due", "pk")[:most]),
        to_decide=[first[pk] for pk in decide[:most] if pk in first],
        to_decide_count=len(decide),
        to_consent=consent,
        to_finish=finish,
    )


def _of_led_labs(user: User, most: int) -> tuple[list[AllocationRequest], list[AllocationRequest]]:
    """What a PI has to finish, and transfers to agree to, the oldest of each first: one query."""
    led = [m.lab_id for m in user.current_memberships if m.role == Role.PI]
    if not led:
        return [], []
    # Each by itself: a database finds rows by its indexes, but not where an OR runs over joined tables.
    unsent = AllocationRequest.objects.filter(state__in=UNSENT, project__lab__in=led).order_by()
    offered = AllocationRequest.objects.offered_to(user).unanswered().order_by()
    theirs = unsent.values("pk").union(offered.values("pk"))
    is_unsent = Case(When(state__in=UNSENT, then=1), default=0)
    since = Case(When(state__in=UNSENT, then="created_at"), default="submitted_at")
    found = AllocationRequest.objects.filter(pk__in=theirs).select_related(*SHOWN, "to_project")
    placed = found.annotate(place=Window(RowNumber(), partition_by=is_unsent, order_by=(since, "pk")))
    rows = list(placed.filter(place__lte=most).order_by("place"))
    return [one for one in rows if one.state in UNSENT], [one for one in rows if one.state not in UNSENT]


def to_decide_by(user: User, visible: AllocationRequestQuerySet) -> Any:
    """What waits for the centre, without what `user` asked for, shall review first, or can't be second for."""
    waiting = mine_first(visible.waiting(), user).exclude(created_by=user)
    second = Q(state=AllocationRequest.State.ENDORSED)
    if Role.APPROVER in user.roles:
        second &= Q(first_approver=user.pk)
    return waiting.exclude(second).exclude(rank=0).order_by("rank", "submitted_at", "pk")


# ── What has an institution had so far? ──────────────────────────────────────


GRANTED = Sum("gpu_seconds", filter=Q(of_runs=False) & ~Q(kind=LedgerEntry.Kind.EXPIRY), default=0)
OF_RUNS = Sum("gpu_seconds", filter=Q(of_runs=True), default=0)


@dataclass(frozen=True)
class Hours:
    """What an institution got so far, and what its jobs used, in GPU-seconds."""

    granted: int = 0
    used: int = 0


@dataclass(frozen=True)
class History:
    """An institution at a glance, for whoever decides on its next request. Drafts are not asked."""

    hours: Hours
    requests: int
    approved: int
    rejected: int


def hours_of(institutions: Iterable[int]) -> dict[int, Hours]:
    """By the institution's pk, of those that got any: one query, whatever their number."""
    sums = _sums(institutions).values_list("allocation__project__lab__institution")
    return {
        pk: Hours(granted, -moved) for pk, granted, moved in sums.annotate(granted=GRANTED, moved=OF_RUNS)
    }


def history(institution: int) -> History:
    """One query: the hours as one row, and beside it a row of each state."""
    asked = AllocationRequest.objects.filter(project__lab__institution=institution)
    sent = asked.exclude(state=AllocationRequest.State.DRAFT).order_by()
    by_state = sent.values_list("state").annotate(n=Count("pk"), nothing=Value(0))
    hours = _sums([institution]).values_list(Value("", CharField())).annotate(granted=GRANTED, moved=OF_RUNS)
    found = {word: (n, moved) for word, n, moved in by_state.union(hours, all=True)}
    granted, moved = found.pop("", (0, 0))
    counted = Counter({state: n for state, (n, _nothing) in found.items()})
    return History(
        hours=Hours(granted, -moved),
        requests=counted.total(),
        approved=counted[AllocationRequest.State.APPROVED],
        rejected=counted[AllocationRequest.State.REJECTED],
    )


def _sums(institutions: Iterable[int]) -> QuerySet[LedgerSum]:
    return LedgerSum.objects.filter(allocation__project__lab__institution__in=set(institutions)).order_by()


# ── What happened to a request? ──────────────────────────────────────────────

Tone = Literal["ok", "wait", "warn", "bad", "off"]


@dataclass(frozen=True)
class StoryLine:
    """One event of a request. `gpu_seconds` where it names an amount; `words` as somebody wrote them.

    `inside`: said within the centre; the lab doesn't read it.
    """

    at: datetime
    who: str
    what: str
    tone: Tone
    gpu_seconds: int | None = None
    asked: int | None = None  # beside what was awarded
    words: str = ""
    conditions: str = ""
    tranches: tuple[Tranche, ...] = ()
    comments: tuple[tuple[str, str], ...] = ()  # beside fields: the field's label, and what was said of it
    inside: bool = False


EVENTS: dict[str, tuple[Promise, Tone]] = {
    "allocation request drafted": (gettext_lazy("drafted"), "off"),
    "allocation request changed": (gettext_lazy("changed"), "off"),
    "allocation request submitted": (gettext_lazy("sent to the centre"), "wait"),
    "allocation request withdrawn": (gettext_lazy("withdrawn"), "off"),
    "allocation request consented": (gettext_lazy("receiver agreed"), "ok"),
    "allocation request not consented": (gettext_lazy("receiver declined"), "warn"),
}
VERDICTS: dict[str, tuple[Promise, Tone]] = {
    Verdict.ENDORSED: (gettext_lazy("first approval"), "wait"),
    Verdict.OBJECTED: (gettext_lazy("not agreed"), "warn"),
    Verdict.APPROVED: (gettext_lazy("approved"), "ok"),
    Verdict.RETURNED: (gettext_lazy("returned for changes"), "warn"),
    Verdict.REJECTED: (gettext_lazy("rejected"), "bad"),
}
ADVICE: dict[str, tuple[Promise, Tone]] = {
    TechnicalReview.State.ASKED: (gettext_lazy("technical review asked of %(reviewer)s"), "wait"),
    TechnicalReview.State.WRITTEN: (
        gettext_lazy("technical review by %(reviewer)s: %(score)s of 5"),
        "ok",
    ),
    TechnicalReview.State.CONFLICTED: (gettext_lazy("conflict of interest of %(reviewer)s"), "off"),
    TechnicalReview.State.CALLED_OFF: (
        gettext_lazy("technical review by %(reviewer)s called off"),
        "off",
    ),
}
AMONG_THE_CENTRE = (Verdict.ENDORSED, Verdict.OBJECTED)


def story(request: AllocationRequest, *, inside: bool) -> list[StoryLine]:
    """From the first draft to the decision, the oldest first. `inside`: also what the centre says among itself."""
    events = AuditEvent.objects.about(request).filter(action__in=EVENTS).select_related("actor")
    lines = [
        StoryLine(
            event.at,
            str(event.actor or ""),
            *_words(EVENTS[event.action]),
            gpu_seconds=event.detail.get("gpu_seconds"),
            words=event.detail.get("note", ""),
        )
        for event in events.order_by("at", "pk")
    ]
    lines += [_of_review(request, review) for review in request.reviews.all()]
    if inside:
        lines += [_of_advice(review) for review in request.technical_reviews.all()]
    return sorted((line for line in lines if inside or not line.inside), key=lambda line: line.at)


def _of_review(request: AllocationRequest, review: Review) -> StoryLine:
    by_policy = review.reviewer is None
    labels = {name: str(label) for name, label in COMMENTABLE}
    return StoryLine(
        review.at,
        "" if by_policy else str(review.reviewer),
        gettext("approved by policy") if by_policy else str(VERDICTS[review.verdict][0]),
        VERDICTS[review.verdict][1],
        review.gpu_seconds_awarded or None,
        request.gpu_seconds_asked if review.gpu_seconds_awarded else None,
        gettext(review.comment) if by_policy else review.comment,
        review.conditions,
        tuple(review.tranches.all()),
        tuple((labels.get(one.field, one.field), one.text) for one in review.field_comments.all()),
        inside=review.verdict in AMONG_THE_CENTRE,
    )


def _of_advice(review: TechnicalReview) -> StoryLine:
    """Its latest step: what was asked is said by whom it was asked of."""
    what, tone = ADVICE[review.state]
    words = {"reviewer": review.reviewer, "score": review.score}
    at = review.answered_at or review.asked_at
    return StoryLine(at, "", str(what) % words, tone, words=review.comment, inside=True)


def _words(event: tuple[Promise, Tone]) -> tuple[str, Tone]:
    return str(event[0]), event[1]
