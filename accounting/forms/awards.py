"""What may be awarded to a request: the sentences for an award that can't be, for pages and programs alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext

from accounting.actions.reviews import Portion
from accounting.forms.fields import check_soon
from accounting.models import AllocationRequest
from accounting.units import hours
from portal.words import day, figure

Kind = AllocationRequest.Kind
MOST_TRANCHES = 4


def check_award(asked: AllocationRequest, gpu_seconds: int) -> None:
    """Nobody grants more than was asked for: it would be a slip of the key."""
    if gpu_seconds > asked.gpu_seconds_asked:
        most = figure(hours(asked.gpu_seconds_asked))
        raise ValidationError(
            gettext("The lab asked for %(most)s GPU-hours. Grant at most that many.") % {"most": most}
        )


def check_tranches(asked: AllocationRequest, gpu_seconds: int, portions: Sequence[Portion]) -> None:
    """Each on a day of its own that is to come and within the period; together they are the award."""
    if not portions:
        return
    if not in_tranches(asked):
        raise ValidationError(gettext("This kind of request is granted in one piece."))
    days = [portion.available_from for portion in portions]
    if len({*days}) < len(days):
        raise ValidationError(gettext("Two tranches are on the same day. Make them one."))
    if min(days) < timezone.now().date():
        raise ValidationError(gettext("The day of a tranche is over. Take today or a later day."))
    if asked.end and max(days) > asked.end:
        last = day(asked.end)
        raise ValidationError(
            gettext("A tranche is after the last day, %(last)s. Nobody could use it.") % {"last": last}
        )
    total = sum(portion.gpu_seconds for portion in portions)
    if total != gpu_seconds:
        raise ValidationError(
            gettext("The tranches add up to %(total)s GPU-hours, the award is %(award)s. Make them equal.")
            % {"total": figure(hours(total)), "award": figure(hours(gpu_seconds))}
        )


def check_new_end(asked: AllocationRequest, end: date) -> date:
    """An extension may end on another day than was asked, but after the day on which the hours end anyway."""
    if not takes_end(asked):
        raise ValidationError(gettext("Only an extension can be given another last day."))
    if asked.allocation and end <= asked.allocation.end:
        now = day(asked.allocation.end)
        raise ValidationError(
            gettext("The hours already last until %(now)s. Take a later day.") % {"now": now}
        )
    return check_soon(end)


def grants_hours(asked: AllocationRequest) -> bool:
    return asked.kind != Kind.EXTENSION


def takes_end(asked: AllocationRequest) -> bool:
    return asked.kind == Kind.EXTENSION


def in_tranches(asked: AllocationRequest) -> bool:
    """Hours that are granted anew can come in parts; a transfer moves what is there."""
    return asked.kind in (Kind.NEW, Kind.SUPPLEMENT, Kind.RENEWAL)
