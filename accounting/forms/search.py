"""What the list of requests is narrowed to."""

from __future__ import annotations

from django import forms
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounting.models import AllocationRequest


class RequestSearch(forms.Form):
    """Lives in the address. What the address asks for and we don't know is everything."""

    project = forms.CharField(label=_("Project"), required=False, max_length=200)
    state = forms.ChoiceField(
        label=_("State"), required=False, choices=[("", _("any state")), *AllocationRequest.State.choices]
    )
    kind = forms.ChoiceField(
        label=_("Kind"), required=False, choices=[("", _("any kind")), *AllocationRequest.Kind.choices]
    )

    @property
    def wanted(self) -> Q:
        self.is_valid()
        said = self.cleaned_data
        exact = {name: said[name] for name in ("state", "kind") if said.get(name)}
        words = said.get("project", "").split()
        wanted = Q(**exact)
        for word in words:
            wanted &= Q(project__title__icontains=word) | Q(project__slug__icontains=word)
        return wanted

    @property
    def is_narrow(self) -> bool:
        self.is_valid()
        return any(self.cleaned_data.values())
