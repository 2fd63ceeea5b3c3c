"""The components that pages are built from: each says what it must, to the eye and to the ear."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django import forms
from django.conf import settings
from django.core.paginator import Paginator
from django.template import engines
from django.test import Client, RequestFactory

from portal.charts import Chart, Series
from portal.forms.selects import PlainSelect
from portal.templatetags.icons import UnknownIcon
from portal.words import ago, duration, filesize, grouped, named

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
TEMPLATES = Path(settings.BASE_DIR) / "templates"


def shown(source: str, path: str = "/", **context: object) -> str:
    return engines["django"].from_string(source).render(context, RequestFactory().get(path))


class AskForGpus(forms.Form):
    name = forms.CharField(max_length=5, help_text="How you find it again.")
    tier = forms.ChoiceField(widget=forms.RadioSelect, choices=[("s", "Standard")])


# ── Words ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("number", "places", "text"),
    [(0, 0, "0"), (1234567, 0, "1 234 567"), (-5, 0, "−5"), (Decimal("1204.255"), 2, "1 204.26")],
)
def test_it_groups_digits_by_a_narrow_space(number: Decimal, places: int, text: str) -> None:
    assert grouped(number, places).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (4800, "1 h 20 min"), (90000, "1 d 1 h"), (86401, "1 d")],
)
def test_it_says_a_duration_by_its_two_largest_units(seconds: int, text: str) -> None:
    assert duration(seconds).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1 023 B"), (1024, "1.0 KiB"), (5 * 1024**4, "5.0 TiB")]
)
def test_it_says_a_size_with_its_unit(size: int, text: str) -> None:
    assert filesize(size).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""),
        (2, "p0, p1"),
        (3, "p0, p1, p2"),
        (4, "p0, p1, p2 and 1 more"),
        (1203, "p0, p1, p2 and 1 200 more"),
    ],
)
def test_many_names_are_cut_off(count: int, text: str) -> None:
    assert named([f"p{n}" for n in range(count)], 3).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "just now"), (3, "3 s ago"), (7199, "1 h ago"), (-120, "in 2 min"), (40 * 86400, "2026")],
)
def test_it_says_how_long_ago(seconds: int, text: str) -> None:
    assert text in ago(NOW - timedelta(seconds=seconds), NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4335300, "1 204.25 GPU-h"),
        (3600, "1 GPU-h"),
        (0, "0 GPU-h"),
        (18, "&lt; 0.01 GPU-h"),
        (54, "0.02 GPU-h"),
    ],
)
def test_it_shows_hours_with_the_seconds_on_hover(seconds: int, text: str) -> None:
    html = shown("{% load gpu_hours %}{{ s|gpu_hours }}", s=seconds).replace("\u202f", " ")
    assert f">{text}<" in html
    assert f'title="{seconds:,} GPU-seconds"'.replace(",", " ") in html


# ── Components ───────────────────────────────────────────────────────────────


def test_a_wrong_field_keeps_what_was_typed_and_ties_its_error_to_the_control() -> None:
    form = AskForGpus({"name": "<b>much too long"})
    html = shown('{% include "components/form.html" %}', form=form)
    assert 'value="&lt;b&gt;much too long"' in html
    control = re.search(r"<input[^>]*id=\"id_name\"[^>]*>", html)
    assert control
    assert 'aria-invalid="true"' in control[0]
    described = re.search(r'aria-describedby="([^"]+)"', control[0])
    assert described
    assert all(f'id="{name}"' in html for name in described[1].split())


def test_every_link_of_the_error_list_leads_to_something() -> None:
    html = shown('{% include "components/form.html" %}', form=AskForGpus({}))
    targets = re.findall(r'href="#([^"]+)"', html)
    assert targets == ["id_name", "id_tier"]
    assert all(f'id="{target}"' in html for target in targets)


def test_a_form_that_is_right_says_nothing() -> None:
    assert shown('{% include "components/errors.html" %}', form=AskForGpus()).strip() == ""


def test_pages_keep_the_filters() -> None:
    page = Paginator(range(100), 10).get_page(2)
    source = '{% include "components/pagination.html" with counted="100 jobs" %}'
    html = shown(source, "/?q=a+b&page=2", page=page)
    assert 'href="?q=a+b&amp;page=3"' in html
    assert "11–20 of 100 jobs" in html


def test_a_single_page_only_counts() -> None:
    page = Paginator(range(3), 10).get_page(1)
    html = shown('{% include "components/pagination.html" with counted="3 jobs" %}', page=page)
    assert "3 jobs" in html
    assert "of 3 jobs" not in html


def test_a_heading_sorts_the_other_way_the_second_time_and_starts_over_at_page_one() -> None:
    source = '{% include "components/th.html" with key="name" label="Name" %}'
    assert 'href="?sort=name"' in shown(source, "/?page=3")
    again = shown(source, "/?sort=name")
    assert 'href="?sort=-name"' in again
    assert 'aria-sort="ascending"' in again


def test_an_overdrawn_balance_says_so() -> None:
    source = '{% include "components/balance.html" with used=7200 held=0 free=-3600 total=3600 %}'
    assert "overdrawn" in shown(source)
    assert "−1\u202fGPU-h" in shown(source)


def test_a_chart_brings_the_same_numbers_as_a_table() -> None:
    chart = Chart(
        "Use", "GPU-h", ["May", "June"], [Series("used", [Decimal("1204.25"), None])], label_head="Month"
    )
    html = shown('{% include "components/chart.html" with id="use" %}', chart=chart)
    assert "1\u202f204.25" in html
    assert '"values": [1204.25, null]' in html


# ── All templates ────────────────────────────────────────────────────────────


def test_an_unknown_icon_is_loud() -> None:
    with pytest.raises(UnknownIcon, match="no-such-icon"):
        shown('{% load icons %}{% icon "no-such-icon" %}')


def test_every_icon_that_a_template_names_exists() -> None:
    names = {
        name
        for file in TEMPLATES.rglob("*.html")
        for name in re.findall(r'{% icon "([^"]+)" %}', file.read_text())
    }
    assert names
    assert [name for name in sorted(names) if not (settings.ICONS_DIR / f"{name}.svg").is_file()] == []


def test_no_page_has_inline_style_or_script() -> None:
    pages = [file for file in TEMPLATES.rglob("*.html") if file.parent.name != "emails"]
    inline = re.compile(r"<style|\sstyle=|\son[a-z]+=\"|<script>|javascript:")
    assert [str(file.relative_to(TEMPLATES)) for file in pages if inline.search(file.read_text())] == []


@pytest.mark.django_db
def test_a_missing_page_is_the_same_bytes_whatever_was_asked_for(client: Client) -> None:
    first, second = client.get("/no/such/page/"), client.get("/another/?secret=1")
    assert (first.status_code, second.status_code) == (404, 404)
    assert first.content == second.content


@pytest.mark.parametrize("widget", [forms.Select, PlainSelect, forms.SelectMultiple])
def test_whatever_one_chooses_from_looks_so(widget: type[forms.Select]) -> None:
    class Choose(forms.Form):
        one = forms.ChoiceField(choices=[("a", "A")], widget=widget)

    page = shown("{% load page %}{% widget field %}", field=Choose()["one"])
    assert 'class="form-select"' in page and 'value="a"' in page
