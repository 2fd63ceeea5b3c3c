"""Places as a body names them: outside of what one may see, they do not exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, serializers

from portal.api import Slug, person
from portal.models import Institution, Lab


@extend_schema_field(str)
class VisibleInstitution(Slug[Institution]):
    def get_queryset(self) -> QuerySet[Institution]:
        return Institution.objects.visible_to(person(self.context["request"]))


@extend_schema_field(int)
class LabByNumber(serializers.PrimaryKeyRelatedField[Lab]):
    """A JSON integer that the database can be asked for."""

    def to_internal_value(self, data: Any) -> Lab:
        number = data if type(data) is int else None
        if number is None:
            self.fail("incorrect_type", data_type=type(data).__name__)
        elif not 0 < number < 2**63:
            self.fail("does_not_exist", pk_value="")
        return super().to_internal_value(data)


class VisibleLab(LabByNumber):
    def get_queryset(self) -> QuerySet[Lab]:
        return Lab.objects.visible_to(person(self.context["request"])).select_related("institution")


def checked(form: forms.Form) -> Mapping[str, Any]:
    """The answers of the page's form, or its sentences by field: the API asks for no less and no more."""
    if form.is_valid():
        return form.cleaned_data
    errors = {
        ("non_field_errors" if name == "__all__" else name): [str(one) for one in found]
        for name, found in form.errors.items()
    }
    raise exceptions.ValidationError(errors)
