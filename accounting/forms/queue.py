"""What the queue of requests is narrowed to; lives in the address."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from accounting.models import AllocationRequest, Call, Cluster

State = AllocationRequest.State


class QueueFilter(forms.Form):
    WAITING, WITH_LAB, DECIDED = "waiting", "with-lab", "decided"
    CHOICES = (
        (WAITING, _("Waiting for the centre")),
        (WITH_LAB, _("Returned to the lab")),
        (DECIDED, _("Decided")),
    )
    STATES = {
        WAITING: AllocationRequest.WITH_CENTRE,
        WITH_LAB: (State.RETURNED,),
        DECIDED: (State.APPROVED, State.REJECTED),
    }

    show = forms.ChoiceField(required=False, choices=CHOICES, widget=forms.HiddenInput)
    institution = forms.CharField(label=_("Institution"), required=False, max_length=200)
    kind = forms.ChoiceField(
        label=_("Kind"), required=False, choices=[("", _("any kind")), *AllocationRequest.Kind.choices]
    )
    cluster = forms.ModelChoiceField(
        label=_("Cluster"),
        required=False,
        queryset=Cluster.objects.all(),
        to_field_name="name",
        empty_label=_("any cluster"),
    )
    call = forms.ModelChoiceField(
        label=_("Call"), required=False, queryset=Call.objects.all(), empty_label=_("with or without a call")
    )

    @property
    def wanted(self) -> dict[str, Any]:
        """What is known of what was asked for; the rest is the usual."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}

    @property
    def show_now(self) -> str:
        return str(self.wanted.get("show", self.WAITING))

    def narrow(self, requests: QuerySet[AllocationRequest]) -> QuerySet[AllocationRequest]:
        """All but `show`."""
        names = {
            "kind": "kind",
            "cluster": "cluster",
            "call": "call",
            "institution": "project__lab__institution__name__icontains",
        }
        return requests.filter(**{names[name]: value for name, value in self.wanted.items() if name in names})
