"""What does a request still lack before the centre can read it?"""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext as _

from accounting import ledger
from accounting.models import AllocationRequest, ProgressReport, policy_of

Kind = AllocationRequest.Kind


class Unfinished(Exception):
    """A request can't be sent yet. `sentences` by the field of the form; "" for none of them."""

    def __init__(self, sentences: Mapping[str, str]) -> None:
        super().__init__(" ".join(sentences.values()))
        self.sentences = sentences


def what_is_missing(request: AllocationRequest) -> dict[str, str]:
    """Sentences by the field of the form. Empty: it can be sent."""
    found = _of_words(request) | _of_period(request) | _of_amount(request)
    if not lacks_report(request):
        return found
    return found | {"": _("Write the progress report on the allocation before; then send the renewal.")}


def lacks_report(request: AllocationRequest) -> bool:
    """Whether it is a renewal for which the cluster's policy wants a report that is not there."""
    return (
        request.kind == Kind.RENEWAL
        and policy_of(request.cluster).report_before_renewal
        and not ProgressReport.objects.filter(allocation=request.allocation_id).exists()
    )


def _of_words(request: AllocationRequest) -> dict[str, str]:
    found = {}
    if request.unfinished:
        found[""] = _("Something that was typed can't be taken yet. Open the form: it says what.")
    if not request.justification.strip():
        found["justification"] = _("Say what the hours are for: the centre decides by it.")
    if request.call and not request.call.is_open and request.submitted_at is None:
        found["call"] = _("The call “%(call)s” is closed. Choose another one, or none.") % {
            "call": request.call.title
        }
    return found


def _of_period(request: AllocationRequest) -> dict[str, str]:
    if request.start is None:
        return {"start": _("Say from which day the hours are needed.")}
    if request.end is None:
        return {"end": _("Say until which day the hours are needed.")}
    if request.end < request.start:
        return {"end": _("The last day is before the first one.")}
    if request.kind == Kind.EXTENSION and request.allocation and request.end <= request.allocation.end:
        return {"end": _("The allocation lasts until then anyway. Choose a later day.")}
    return {}


def _of_amount(request: AllocationRequest) -> dict[str, str]:
    if request.kind == Kind.EXTENSION:
        return {}
    if request.gpu_seconds_asked <= 0:
        return {"lines": _("Type how many GPU-hours the project needs.")}
    if request.kind != Kind.TRANSFER or request.allocation is None:
        return {}
    if request.to_project is None:
        return {"to_project": _("Say which project is to get the hours.")}
    if request.gpu_seconds_asked > ledger.balance(request.allocation).available:
        return {"gpu_hours": _("The allocation has fewer hours left than that.")}
    return {}
