"""`among(field, keys)` finds what `field__in` finds."""

from __future__ import annotations

from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from portal.models import Institution, Lab
from portal.models.among import among


def test_it_finds_by_keys_alone_and_beside_others(optics: Lab, folding: Lab, northlake: Institution) -> None:
    assert [*Lab.objects.filter(among("institution", [northlake.pk, 2**60]))] == [optics]
    either = among("institution", [northlake.pk]) | Q(pk=folding.pk)
    assert {*Lab.objects.filter(either)} == {optics, folding}
    assert not Lab.objects.filter(~Q(among("pk", [optics.pk, folding.pk]))).exists()


def test_no_keys_find_nothing_and_hide_nothing(optics: Lab) -> None:
    assert not Lab.objects.filter(among("institution", [])).exists()
    assert [*Lab.objects.filter(among("institution", []) | Q(pk=optics.pk))] == [optics]


def test_postgresql_is_asked_the_same_words_for_any_number(optics: Lab) -> None:
    if connection.vendor != "postgresql":
        return
    with CaptureQueriesContext(connection) as asked:
        for keys in ([optics.pk], range(1, 300)):
            list(Lab.objects.filter(among("pk", keys)))
    assert [query["sql"].count("ANY") for query in asked] == [1, 1]
    assert all(" IN " not in query["sql"] for query in asked)
