"""What did a lab change since the centre returned its request?"""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise

from accounting.models import COMMENTABLE, AllocationRequest, Review


@dataclass(frozen=True)
class Change:
    """One field of a request that was sent again: before and after, and what the centre had said of it."""

    label: str | Promise
    before: str
    after: str
    comment: str = ""

    @property
    def changed(self) -> bool:
        return self.before != self.after


def comments_of(request: AllocationRequest) -> dict[str, str]:
    """What the centre said beside fields when it last returned the request, by the names of COMMENTABLE."""
    returned = [review for review in request.reviews.all() if review.verdict == Review.Verdict.RETURNED]
    latest = max(returned, key=lambda review: review.pk, default=None)
    return {comment.field: comment.text for comment in latest.field_comments.all()} if latest else {}


def since_return(request: AllocationRequest) -> list[Change]:
    """What differs between the last two submissions, and what was commented on and left as it was. One query."""
    last = list(request.submissions.order_by("-number")[:2])
    if len(last) < 2:
        return []
    after, before = last[0].content, last[1].content
    comments = comments_of(request)
    changes = (
        Change(label, before.get(name, ""), after.get(name, ""), comments.get(name, ""))
        for name, label in COMMENTABLE
    )
    return [change for change in changes if change.changed or change.comment]
