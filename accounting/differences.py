"""What the nightly check found: kept as rows, each once, until it is found no more. New ones are mailed to staff."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounting.models import BalanceDifference
from accounting.rebuilding import Difference
from portal.emails import people_with, post
from portal.models import Role

MOST = 1_000  # of one night: whoever sees so many needs no more of them


@transaction.atomic
def note(found: Iterable[Difference]) -> int:
    """Keep what is new, follow what is known, clear what is gone. How many are new; staff hear of them once."""
    now = timezone.now()
    known = {
        (row.kind, row.subject): row
        for row in BalanceDifference.objects.select_for_update().filter(cleared_at=None)
    }
    new = []
    for one in islice(found, MOST):
        row = known.pop((one.kind, one.subject), None)
        if row is None:
            new.append(BalanceDifference(**one._asdict(), first_seen_at=now, last_seen_at=now))
        else:
            row.expected, row.found, row.last_seen_at = one.expected, one.found, now
            row.save(update_fields=["expected", "found", "last_seen_at"])
    BalanceDifference.objects.bulk_create(new)
    BalanceDifference.objects.filter(pk__in=[row.pk for row in known.values()]).update(cleared_at=now)
    if new:
        _tell(len(new))
    return len(new)


def _tell(count: int) -> None:
    for person in people_with(Role.STAFF):
        post(
            "balances_differ",
            to=person,
            key=f"balances differ {timezone.now():%Y-%m-%dT%H:%M}",
            path=reverse("accounting:differences"),
            count=count,
        )
