"""What waits for whom, what was asked and decided so far, and how it came to that?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from django.db.models import (
    Count,
    F,
    Q,
    Sum,
)
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from accounting.models import AllocationRequest, LedgerEntry, Review
from portal.models import AuditEvent, Role, User
from portal.models.people import CENTRE_ROLES

# ── What waits for me? ───────────────────────────────────────────────────────


@dataclass(frozen=True)
class Waiting:
    """Requests whose next step is the person's: to decide on, or to finish and send."""

    to_decide: list[AllocationRequest] = field(default_factory=list)
    to_decide_count: int = 0
    to_finish: list[AllocationRequest] = field(default_factory=list)


def waiting_for(user: User, *, most: int = 5) -> Waiting:
    """For Home. The centre decides, oldest first; a PI finishes drafts and what was returned."""
    mine = AllocationRequest.objects.visible_to(user).select_related(
        "project__lab__institution", "cluster", "created_by"
    )
    to_decide = mine.waiting().exclude(created_by=user).order_by("submitted_at", "pk")
    decides = bool(user.roles & {*CENTRE_ROLES})
    to_finish = mine.filter(
        state__in=(AllocationRequest.State.DRAFT, AllocationRequest.State.RETURNED),
        project__lab__in=[m.lab_id for m in user.current_memberships if m.role == Role.PI],
    )
    return Waiting(
        to_decide=list(to_decide[:most]) if decides else [],
        to_decide_count=to_decide.count() if decides else 0,
        to_finish=list(to_finish.order_by("created_at", "pk")[:most]),
    )


# ── What has an institution had so far? ──────────────────────────────────────


@dataclass(frozen=True)
class History:
    """An institution at a glance, for whoever decides on its next request."""

    granted: int
    used: int
    requests: int
    approved: int
    rejected: int


def histories(institutions: Iterable[int]) -> dict[int, History]:
    """By the institution's pk: two queries, whatever their number."""
    institutions = set(institutions)
    of_runs = Q(usage_record__isnull=False)
    sums = {
        row["pk"]: row
        for row in LedgerEntry.objects.filter(allocation__project__lab__institution__in=institutions)
        .order_by()
        .values(pk=F("allocation__project__lab__institution"))
        .annotate(
            granted=Sum("gpu_seconds", filter=~of_runs, default=0),
            used=Sum("gpu_seconds", filter=of_runs, default=0),
        )
    }
    states = AllocationRequest.State
    counts = {
        row["pk"]: row
        for row in AllocationRequest.objects.filter(project__lab__institution__in=institutions)
        .order_by()
        .values(pk=F("project__lab__institution"))
        .annotate(
            asked=Count("id", filter=~Q(state=states.DRAFT)),
            approved=Count("id", filter=Q(state=states.APPROVED)),
            rejected=Count("id", filter=Q(state=states.REJECTED)),
        )
    }
    nothing = {"granted": 0, "used": 0, "asked": 0, "approved": 0, "rejected": 0}
    return {
        pk: History(
            granted=(sums.get(pk) or nothing)["granted"],
            used=-(sums.get(pk) or nothing)["used"],
            requests=(counts.get(pk) or nothing)["asked"],
            approved=(counts.get(pk) or nothing)["approved"],
            rejected=(counts.get(pk) or nothing)["rejected"],
        )
        for pk in institutions
    }


# ── What happened to a request? ──────────────────────────────────────────────

Tone = Literal["ok", "wait", "warn", "bad", "off"]


@dataclass(frozen=True)
class StoryLine:
    """One event of a request. `gpu_seconds` where it names an amount; `words` as somebody wrote them."""

    at: datetime
    who: str
    what: str
    tone: Tone
    gpu_seconds: int | None = None
    words: str = ""


EVENTS: dict[str, tuple[Promise, Tone]] = {
    "allocation request drafted": (gettext_lazy("drafted"), "off"),
    "allocation request changed": (gettext_lazy("changed"), "off"),
    "allocation request submitted": (gettext_lazy("sent to the centre"), "wait"),
    "allocation request withdrawn": (gettext_lazy("withdrawn"), "off"),
}
VERDICTS: dict[str, tuple[Promise, Tone]] = {
    Review.Verdict.APPROVED: (gettext_lazy("approved"), "ok"),
    Review.Verdict.RETURNED: (gettext_lazy("returned for changes"), "warn"),
    Review.Verdict.REJECTED: (gettext_lazy("rejected"), "bad"),
}


def story(request: AllocationRequest) -> list[StoryLine]:
    """From the first draft to the decision, the oldest first: two queries."""
    events = AuditEvent.objects.about(request).filter(action__in=EVENTS).select_related("actor")
    reviews = request.reviews.select_related("reviewer")
    lines = [
        StoryLine(
            event.at,
            str(event.actor or ""),
            str(EVENTS[event.action][0]),
            EVENTS[event.action][1],
            event.detail.get("gpu_seconds"),
        )
        for event in events
    ]
    lines += [
        StoryLine(
            review.at,
            str(review.reviewer),
            str(VERDICTS[review.verdict][0]),
            VERDICTS[review.verdict][1],
            review.gpu_seconds_awarded or None,
            review.comment,
        )
        for review in reviews
    ]
    return sorted(lines, key=lambda line: line.at)
