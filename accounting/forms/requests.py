"""A wish for GPU-hours, as typed: each kind of request asks for what it needs, a draft takes what is there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from django import forms
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounting.actions.requests import Wish
from accounting.forms.fields import (
    DateInput,
    GpuHoursField,
    check_soon,
    check_start,
)
from accounting.forms.lines import LinesForm
from accounting.forms.subjects import Subject, initial_of
from accounting.forms.transfers import check_left, receiver
from accounting.models import AllocationRequest, Call, Cluster
from accounting.units import MAX_GPU_SECONDS
from portal.models import Project

Kind = AllocationRequest.Kind

FIELDS: Mapping[str, tuple[str, ...]] = {
    Kind.NEW: ("cluster", "call", "start", "end", "justification", "people", "software"),
    Kind.SUPPLEMENT: ("justification",),
    Kind.EXTENSION: ("end", "justification"),
    Kind.RENEWAL: ("start", "end", "justification", "people", "software"),
    Kind.TRANSFER: ("to_project", "gpu_hours", "justification"),
}
WITH_LINES = frozenset({Kind.NEW, Kind.SUPPLEMENT, Kind.RENEWAL})
MAX_UNFINISHED = 20_000  # characters of one field that is kept though it can't be taken


class RequestForm(LinesForm):
    """A wish for GPU-hours. With `draft`, what is empty may be empty; `wish` is what can be taken, also if not all can."""

    cluster = forms.ModelChoiceField(
        label=_("Cluster"),
        queryset=Cluster.objects.filter(accepts_jobs=True),
        empty_label=None,
        error_messages={
            "required": _("Choose one of the clusters."),
            "invalid_choice": _("Choose one of the clusters."),
        },
    )
    call = forms.ModelChoiceField(
        label=_("Call"),
        queryset=Call.objects.none(),
        required=False,
        empty_label=_("None: asked at any time"),
        error_messages={"invalid_choice": _("This call is not open. Choose another one, or none.")},
    )
    to_project = forms.CharField(
        label=_("Receiving project"),
        max_length=60,
        help_text=_(
            "Its short name, the last part of its page's address. Its PI has to agree before the centre decides."
        ),
        error_messages={"required": _("Say which project is to get the hours.")},
    )
    gpu_hours = GpuHoursField(
        label=_("GPU-hours to hand over"),
        error_messages={"required": _("Type how many GPU-hours to hand over.")},
    )
    start = forms.DateField(
        label=_("From"),
        input_formats=["%Y-%m-%d"],
        widget=DateInput(),
        error_messages={
            "required": _("Say from which day the hours are needed."),
            "invalid": _("Give a date that exists, as year-month-day: 2026-03-31."),
        },
    )
    end = forms.DateField(
        label=_("Until"),
        input_formats=["%Y-%m-%d"],
        widget=DateInput(),
        help_text=_("The last day on which the hours can be used."),
        error_messages={
            "required": _("Say until which day the hours are needed."),
            "invalid": _("Give a date that exists, as year-month-day: 2026-03-31."),
        },
    )
    justification = forms.CharField(
        label=_("What the hours are for"),
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text=_("What will run, how many runs of how many GPUs and hours, and why that many."),
        error_messages={"required": _("Say what the hours are for: the centre decides by it.")},
    )
    people = forms.CharField(
        label=_("People"),
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Who will work on it, and what they have done on such machines."),
    )
    software = forms.CharField(
        label=_("Software"),
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Which programs, and how they use several GPUs."),
    )

    def __init__(self, data: Any = None, *, subject: Subject, draft: bool = False) -> None:
        self.subject, self.draft = subject, draft
        self.only_cluster: Cluster | None = None
        super().__init__(data, initial=initial_of(subject))
        self.fields = {name: self.fields[name] for name in FIELDS[subject.kind]}
        if "call" in self.fields:
            self._offer_calls()
        if subject.kind in WITH_LINES:
            self._offer_clusters()
        for name, field in self.fields.items() if draft else ():
            field.required = name == "cluster"  # nothing can be kept without it

    def _offer_calls(self) -> None:
        """The open ones; a draft keeps the one it was begun for, to be told when that is closed."""
        calls = Call.objects.open()
        if self.subject.asked and self.subject.asked.call_id:
            calls |= Call.objects.filter(pk=self.subject.asked.call_id)
        field: Any = self.fields["call"]
        field.queryset = calls.filter(cluster__accepts_jobs=True).select_related("cluster")
        choices = [(call.pk, _named_call(call)) for call in field.queryset]
        field.choices = [("", field.empty_label), *choices]
        if not choices:
            del self.fields["call"]

    def _offer_clusters(self) -> None:
        allocation = self.subject.allocation
        self.add_rows(Q(cluster=allocation.cluster_id) if allocation else Q(cluster__accepts_jobs=True))
        if "cluster" in self.fields:
            clusters = list(dict.fromkeys(partition.cluster for partition in self.partitions))
            field: Any = self.fields["cluster"]
            field.choices = [(cluster.pk, str(cluster)) for cluster in clusters]
            self.only_cluster = clusters[0] if len(clusters) == 1 else None

    @property
    def comments(self) -> dict[str, str]:
        """What the centre said of single fields when it returned the request, by the field's name."""
        decision = self.subject.asked.decision if self.subject.asked else None
        if decision is None or decision.verdict != decision.Verdict.RETURNED:
            return {}
        return {comment.field: comment.text for comment in decision.field_comments.all()}

    # What was typed

    def clean_start(self) -> date | None:
        start: date | None = self.cleaned_data["start"]
        return check_start(start) if start else None

    def clean_end(self) -> date | None:
        end: date | None = self.cleaned_data["end"]
        return check_soon(end) if end else None

    def clean_to_project(self) -> Project | None:
        """By name only: a list of the funder's projects would show what is not theirs to see."""
        slug = self.cleaned_data["to_project"].strip()
        return receiver(self.subject.project, slug) if slug else None

    def clean_gpu_hours(self) -> int:
        asked: int = self.cleaned_data["gpu_hours"]
        if self.subject.allocation:
            check_left(self.subject.allocation, asked)
        return asked

    def clean(self) -> dict[str, Any]:
        self._clean_period()
        self._clean_call()
        if self.subject.kind in WITH_LINES:
            self._clean_lines()
        return self.cleaned_data

    def _clean_period(self) -> None:
        start, end = self.cleaned_data.get("start"), self.cleaned_data.get("end")
        before = self.subject.allocation
        if start and end and end < start:
            self.add_error("end", gettext("The last day is before the first one."))
        elif before and end and self.subject.kind == Kind.EXTENSION and end <= before.end:
            self.add_error("end", gettext("The allocation lasts until then anyway. Choose a later day."))
        elif before and start and self.subject.kind == Kind.RENEWAL and start <= before.end:
            self.add_error("start", gettext("The allocation before is not over on that day. Start after it."))

    def _clean_call(self) -> None:
        call, cluster = self.cleaned_data.get("call"), self.cleaned_data.get("cluster")
        if call and cluster and call.cluster_id != cluster.pk:
            self.add_error("call", gettext("This call is for another cluster."))
        if call and not self.draft and not call.is_open and not _was_sent(self.subject.asked):
            self.add_error("call", gettext("This call is closed. Choose another one, or none."))

    def _clean_lines(self) -> None:
        allocation = self.subject.allocation
        cluster = allocation.cluster if allocation else self.cleaned_data.get("cluster")
        lines = self.lines_on(cluster)
        cost = sum(line.cost for line in lines)
        first = next((row for row in self.rows if row.cluster == cluster), None)
        self.cleaned_data["lines"] = lines
        if first is None:
            return
        if cost > MAX_GPU_SECONDS:
            self.add_error(first.hours.name, gettext("Together that is more than any cluster has."))
        elif not cost and not self.draft and not any(row.hours.errors for row in self.rows):
            self.add_error(first.hours.name, gettext("Type how many GPU-hours the project needs."))

    # What is done with it

    @property
    def wish(self) -> Wish:
        """The keywords of `actions.request_hours` and `actions.change_request`: what can be taken, and what can't yet."""
        said = self.cleaned_data
        wish: Any = {name: said[name] for name in FIELDS[self.subject.kind] if name in said}
        if "gpu_hours" in wish:
            wish["gpu_seconds"] = wish.pop("gpu_hours")
        if "lines" in said:
            wish["lines"] = said["lines"]
        taken: Wish = wish
        taken["unfinished"] = self._unfinished()
        return taken

    def _unfinished(self) -> dict[str, str]:
        """As typed, by field; also a reason without hours. (No database keeps a NUL.)"""
        rejected = [name for name in self.fields if name in self.errors]
        lonely = [row.why.name for row in self.rows if not self.cleaned_data.get(row.hours.name)]
        typed = {name: str(self.data.get(name, "")).replace("\0", "") for name in {*rejected, *lonely}}
        return {name: text[:MAX_UNFINISHED] for name, text in typed.items() if text.strip()}


def _named_call(call: Any) -> str:
    day = timezone.localtime(call.closes_at)
    return gettext("%(call)s (%(cluster)s, until %(day)s)") % {
        "call": call.title,
        "cluster": call.cluster,
        "day": f"{day:%Y-%m-%d %H:%M %Z}",
    }


def _was_sent(asked: AllocationRequest | None) -> bool:
    return asked is not None and asked.submitted_at is not None
