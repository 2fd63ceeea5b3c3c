"""The demo can be made from nothing, twice without harm, and shows what there is to see."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounting.models import Allocation, LedgerEntry, PersonCap
from jobs import balance_checks
from portal.models import User


@pytest.mark.django_db
def test_it_shows_hours_in_each_season_of_their_life() -> None:
    call_command("seed_demo", stdout=StringIO())
    people = User.objects.count()
    call_command("seed_demo", stdout=StringIO())
    assert User.objects.count() == people
    today = timezone.now().date()
    ending = Allocation.objects.active(today).get(end__lte=today + timedelta(days=30))
    assert ending.review is not None and ending.review.conditions
    assert PersonCap.objects.filter(allocation=ending).exists()
    settled = Allocation.objects.exclude(settled_at=None)
    assert settled.exists()
    assert LedgerEntry.objects.filter(kind="expiry", allocation__in=settled).exists()
    assert balance_checks.found() == []
