"""What the list of discrepancies is narrowed to, and an explanation as typed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounting.models import Cluster, Discrepancy

ALL = "all"


class DiscrepancySearch(forms.Form):
    """Lives in the address. Without a state the open ones; what we don't know is everything."""

    state = forms.ChoiceField(
        label=_("State"),
        required=False,
        choices=[("", _("open")), (ALL, _("any state")), *Discrepancy.State.choices[1:]],
    )
    cluster = forms.ChoiceField(label=_("Cluster"), required=False)
    account = forms.CharField(label=_("Account"), required=False, max_length=100)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        field: Any = self.fields["cluster"]
        named = Cluster.objects.order_by("title").values_list("name", "title")
        field.choices = [("", _("any cluster")), *named]
        self.is_valid()

    @property
    def wanted(self) -> Q:
        said = self.cleaned_data
        state = said.get("state") or (Discrepancy.State.OPEN if "state" in said else ALL)
        wanted = Q() if state == ALL else Q(state=state)
        if said.get("account"):
            wanted &= Q(account__icontains=said["account"])
        return wanted & self.of_cluster

    @property
    def of_cluster(self) -> Q:
        name = self.cleaned_data.get("cluster")
        return Q(cluster__name=name) if name else Q()

    @property
    def is_narrow(self) -> bool:
        return any(self.cleaned_data.values())


class ExplainForm(forms.Form):
    explanation = forms.CharField(
        label=_("Explanation"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("It holds as long as the two figures stay as they are. Colleagues read it here."),
        error_messages={"required": _("Say why the figures differ.")},
    )
