"""What people type as GPU-hours: what is an amount, and the sentence for what is none."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from accounting.forms.fields import parse_gpu_hours, typed_hours
from accounting.units import MAX_GPU_SECONDS, charged, from_hours, hours


@pytest.mark.parametrize(
    ("text", "gpu_seconds"),
    [
        ("4000", 4000 * 3600),
        (" 1500.5 ", 5_401_800),
        ("0.01", 36),
        ("1 500", 1500 * 3600),
        ("1\u202f500\u202f000", 1_500_000 * 3600),
        ("1\u00a0500.25", 5_400_900),
        ("1000000000", MAX_GPU_SECONDS),
    ],
)
def test_an_amount(text: str, gpu_seconds: int) -> None:
    assert parse_gpu_hours(text) == gpu_seconds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0", "above zero"),
        ("0.0", "above zero"),
        ("0.00001", "above zero"),
        ("-1", "without a sign"),
        ("\u22124", "without a sign"),
        ("+4", "without a sign"),
        ("NaN", "in digits"),
        ("Infinity", "in digits"),
        ("1e400", "in digits"),
        ("1_000", "in digits"),
        ("１２", "in digits"),
        ("1,000", "in digits"),
        ("15 00", "in digits"),
        ("4000\n5", "in digits"),
        ("=4000", "in digits"),
        ("four", "in digits"),
        ("1000000001", "more than any cluster has"),
        ("9" * 400, "more than any cluster has"),
    ],
)
def test_what_is_none_gets_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        parse_gpu_hours(text)


@given(st.text(max_size=30))
def test_any_text_is_an_amount_or_gets_a_sentence(text: str) -> None:
    try:
        assert 0 < parse_gpu_hours(text) <= MAX_GPU_SECONDS
    except ValidationError as error:
        assert error.messages


@given(st.integers(1, 10**9).map(lambda amount: amount * 36))
def test_what_is_shown_can_be_typed_again(gpu_seconds: int) -> None:
    assert parse_gpu_hours(typed_hours(min(gpu_seconds, MAX_GPU_SECONDS))) == min(
        gpu_seconds, MAX_GPU_SECONDS
    )


def test_hours_are_rounded_half_even() -> None:
    assert (hours(18), hours(54), hours(5400)) == (Decimal("0.00"), Decimal("0.02"), Decimal("1.50"))
    assert from_hours(Decimal("0.0001")) == 0
    assert (charged(3, Decimal("0.5")), charged(5, Decimal("0.5"))) == (2, 2)
