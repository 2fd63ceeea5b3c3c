"""`manage.py register`: a centre's own file becomes clusters, prices, institutions and people; twice is once."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounting.models import ChargeFactor, Cluster, Partition
from portal.models import AuditEvent, Institution, Lab, Membership, Project, Role, User
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "register.example.toml"

CLUSTER = """
[[clusters]]
name = "firefly"
title = "Firefly"
accepts_jobs = true

[[clusters.partitions]]
name = "a100"
gpu_type = "a100"
tier = "standard"
node_count = 4
gpus_per_node = 8
cpus_per_gpu = 12
memory_per_gpu_mib = 100000
max_time_minutes = 600
factors = [{ factor = 1, valid_from = 2026-01-01 }]
"""
NORTHLAKE = """
[[institutions]]
slug = "northlake"
account = "northlake"
name = "Northlake University"

[[institutions.labs]]
slug = "optics"
account = "northlake-optics"
name = "Quantum Optics"

[[institutions.labs.projects]]
slug = "squeezed"
account = "northlake-squeezed"
title = "Squeezed light"
"""
IVO = """
[[people]]
email = "ivo@northlake.example"
name = "Ivo Brandt"
roles = [{ role = "pi", lab = "northlake/optics" }]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "centre.toml"


def register(file: Path, text: str) -> str:
    file.write_text(text, encoding="utf-8")
    out = io.StringIO()
    call_command("register", str(file), stdout=out)
    return out.getvalue()


def refusal(file: Path, text: str) -> str:
    with pytest.raises(CommandError) as refused:
        register(file, text)
    return str(refused.value)


# ── What comes of it ─────────────────────────────────────────────────────────


def test_the_example_of_the_documentation_is_taken(file: Path) -> None:
    register(file, EXAMPLE.read_text(encoding="utf-8"))
    assert {*Role.values} - {Role.STAFF} == {m.role for m in Membership.objects.all()}
    project = Project.objects.get()
    assert project.state == Project.State.ACTIVE and str(project.funder) == "National Science Fund"
    assert project.lab.institution.country == "CN"


def test_partitions_have_their_price(file: Path) -> None:
    register(file, EXAMPLE.read_text(encoding="utf-8"))
    cheap = Partition.objects.get(name="a100-preemptible")
    assert cheap.factor_at(datetime(2026, 1, 1, tzinfo=UTC)) == Decimal("0.5")
    assert cheap.gpu_count == 10_000


def test_twice_is_once(file: Path) -> None:
    text = CLUSTER + NORTHLAKE + IVO
    assert register(file, text).startswith("8 new, 0 changed, 0 unchanged.")
    before = AuditEvent.objects.count()
    assert register(file, text).startswith("0 new, 0 changed, 8 unchanged.")
    assert AuditEvent.objects.count() == before == 8


def test_what_differs_is_changed_and_nothing_else(file: Path) -> None:
    register(file, CLUSTER + NORTHLAKE)
    told = register(file, CLUSTER.replace("node_count = 4", "node_count = 8"))
    assert told.startswith("0 new, 1 changed, 2 unchanged.")
    assert Partition.objects.get().node_count == 8
    assert Institution.objects.count() == 1


def test_what_is_not_said_stays(file: Path, project: Project) -> None:
    """conftest's project has a funder, of which this file does not speak."""
    lab = project.lab
    text = NORTHLAKE.replace('"optics"', f'"{lab.slug}"').replace('"northlake-optics"', f'"{lab.account}"')
    text = text.replace('"squeezed"', f'"{project.slug}"').replace(
        '"northlake-squeezed"', f'"{project.account}"'
    )
    register(file, text.replace("Squeezed light", "Squeezed light II"))
    project.refresh_from_db()
    assert project.title == "Squeezed light II" and project.funder is not None


def test_a_new_price_stands_beside_the_old_one(file: Path) -> None:
    register(file, CLUSTER)
    later = CLUSTER.replace("factors = [", "factors = [{ factor = 1.25, valid_from = 2027-01-01 }, ")
    assert register(file, later).startswith("1 new")
    assert [price.factor for price in ChargeFactor.objects.all()] == [Decimal("1"), Decimal("1.25")]


# ── People ───────────────────────────────────────────────────────────────────


def test_it_prints_a_link_until_there_is_a_password(file: Path) -> None:
    text = NORTHLAKE + IVO
    assert "ivo@northlake.example  http" in register(file, text)
    assert "ivo@northlake.example  http" in register(file, text)
    ivo = User.objects.get()
    ivo.set_password(PASSWORD)
    ivo.save()
    assert "http" not in register(file, text)


def test_people_are_known_by_their_address_in_any_case(file: Path) -> None:
    register(file, NORTHLAKE + IVO)
    register(file, NORTHLAKE + IVO.replace("ivo@", "Ivo@"))
    assert User.objects.get().email == "ivo@northlake.example"


def test_a_role_that_has_ended_stays_ended(file: Path) -> None:
    register(file, NORTHLAKE + IVO)
    Membership.objects.update(ended_at=timezone.now())
    register(file, NORTHLAKE + IVO)
    assert not Membership.objects.current().exists()


# ── What is refused, in words, with nothing of the file taken ────────────────


def test_all_or_nothing(file: Path) -> None:
    refusal(file, CLUSTER + IVO)
    assert not Cluster.objects.exists() and not User.objects.exists() and not AuditEvent.objects.exists()


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    told = refusal(
        file, NORTHLAKE.replace('name = "Quantum Optics"', 'nam = "Quantum Optics"') + "[[clusters]]\nname=3"
    )
    assert "institutions → northlake → labs → optics: add name." in told
    assert "institutions → northlake → labs → optics: there is no key “nam” here" in told
    assert "clusters → 3 → name: this must be text in quotation marks." in told
    assert "clusters → 3: add title." in told


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ('"northlake-optics"', '"Northlake Optics"', "labs → optics → account: Use lower-case letters"),
        ("node_count = 4", "node_count = 0", "partitions → a100 → node_count: Ensure this value is greater"),
        ("node_count = 4", "node_count = true", "node_count: this must be a whole number."),
        ("node_count = 4", f"node_count = {10**30}", "node_count: Ensure this value is less"),
        ('tier = "standard"', 'tier = "fast"', "tier: Value 'fast' is not a valid choice"),
        ("factor = 1,", "factor = -1,", "factor from 2026-01-01 → factor: Ensure this value is greater"),
        ("factor = 1,", "factor = nan,", "factor: this must be a number."),
        ("factor = 1,", 'factor = "1",', "factor: this must be a number."),
        ("valid_from = 2026-01-01", "valid_from = 2026-01-01T00:00:00Z", "valid_from: this must be a day"),
        ("valid_from = 2026-01-01", "valid_from = 2026-02-30", "no valid TOML"),
        ('role = "pi"', 'role = "boss"', "there is no such role; there are member, pi"),
        ('lab = "northlake/optics"', 'institution = "northlake"', 'write { role = "pi", lab = "INSTITUTION/LAB" }'),
        ('role = "pi"', 'role = "staff"', "roles → staff: this role holds in the whole centre"),
        ('"northlake/optics"', '"northlake/chemistry"', "roles → pi: there is no lab “northlake/chemistry”."),
        ('"northlake/optics"', '"northlake"', "there is no lab “northlake”."),
        ('"ivo@northlake.example"', '"ivo"', "people → ivo → email: Enter a valid email address."),
        ('name = "Ivo Brandt"', 'name = ""', "people → ivo@northlake.example → name: This field cannot be blank."),
        ('title = "Squeezed light"', 'title = "Squeezed light"\nfunder = "nsf"', "there is no funder “nsf”."),
        ('[[people]]', '[people]', "people: this must be a list of tables."),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(file: Path, right: str, wrong: str, why: str) -> None:
    text = CLUSTER + NORTHLAKE + IVO
    assert right in text
    assert why in refusal(file, text.replace(right, wrong))


def test_accounts_never_change(file: Path) -> None:
    register(file, NORTHLAKE)
    told = refusal(file, NORTHLAKE.replace('"northlake-squeezed"', '"northlake-other"'))
    assert "projects → squeezed: its account is northlake-squeezed and can't become northlake-other." in told


def test_a_price_never_changes(file: Path) -> None:
    register(file, CLUSTER)
    told = refusal(file, CLUSTER.replace("factor = 1,", "factor = 2,"))
    assert "factor from 2026-01-01: its factor is 1.0000 and can't become 2." in told


def test_two_labs_of_one_account_are_refused(file: Path) -> None:
    twin = '[[institutions.labs]]\nslug = "twin"\naccount = "northlake-optics"\nname = "Twin"\n'
    assert "labs → twin → account: Lab with this Account already exists." in refusal(file, NORTHLAKE + twin)
    assert not Lab.objects.exists()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        call_command("register", str(tmp_path / "nothing.toml"))
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'title = "M\xfcnchen"')
    with pytest.raises(CommandError, match="not UTF-8"):
        call_command("register", str(latin))


def test_a_mail_domain_is_told_and_checked(tmp_path: Path) -> None:
    with_domain = NORTHLAKE.replace(
        'name = "Northlake University"', 'name = "Northlake University"\nmail_domain = "DOMAIN"'
    )
    file = tmp_path / "register.toml"
    file.write_text(with_domain.replace("DOMAIN", "Northlake.example"))
    call_command("register", str(file), stdout=io.StringIO())
    assert Institution.objects.get().mail_domain == "northlake.example"
    file.write_text(with_domain.replace("DOMAIN", "gmail.com"))
    with pytest.raises(CommandError, match="mail_domain: Anybody gets an address there"):
        call_command("register", str(file), stdout=io.StringIO())
