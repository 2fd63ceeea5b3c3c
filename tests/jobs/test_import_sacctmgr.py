"""A centre's own tree of accounts comes in from `sacctmgr dump`: once, by clear rules, and never with a crash."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from accounting.models import Cluster
from accounting.trees import AccountLine, UserLine, place
from jobs.models import Association
from jobs.schedulers.dump import read_dump
from jobs.sweep import overdue
from portal.models import AuditEvent, Institution, Lab, Membership, Project, User
from tests.factories import ClusterAccountFactory, ProjectFactory

REAL = Path(__file__).parents[1] / "data" / "sacctmgr-dump.cfg"

TREE = """
# a comment
Cluster - 'firefly':Fairshare=1:QOS='normal'
Parent - 'root'
User - 'root':DefaultAccount='root':AdminLevel='Administrator':Fairshare=1
Account - 'north':Description='Northern University':Organization='north':Fairshare=1
Account - 'alone':Description='O'Neill's group: optics':Organization='alone'
Parent - 'north'
Account - 'physics':Description='Physics':Organization='north'
Account - 'chem':Description='Chemistry':Organization='north'
Parent - 'physics'
Account - 'quarks':Description='Quarks':Organization='north'
User - 'fp-mei':DefaultAccount='physics'
Parent - 'quarks'
Account - 'top':Description='Top quarks':Organization='north'
User - 'fp-mei':DefaultAccount='physics'
User - 'stranger':DefaultAccount='quarks'
"""


def run(tmp_path: Path, text: str = TREE, *words: str) -> str:
    file = tmp_path / "tree.cfg"
    file.write_text(text, encoding="utf-8")
    out = StringIO()
    call_command("import_sacctmgr", str(file), "--cluster", "firefly", *words, stdout=out)
    return out.getvalue()


def tree() -> set[tuple[str, str, str]]:
    return {
        (project.lab.institution.account, project.lab.account, project.account)
        for project in Project.objects.select_related("lab__institution")
    }


# ── Reading ──────────────────────────────────────────────────────────────────


def test_what_a_real_slurm_wrote_is_read_whole() -> None:
    dump = read_dump(REAL.read_text().splitlines())
    assert (dump.cluster, dump.bad) == ("firefly", [])
    assert [(one.name, one.parent) for one in dump.accounts] == [
        ("portal", "root"),
        ("xi", "portal"),
        ("xl", "xi"),
        ("xp1", "xl"),
        ("xp2", "xl"),
    ]
    assert ("fp-t-xa", "xp2") in {(user.name, user.account) for user in dump.users}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "it is no Cluster, Parent, Account or User line"),
        ("Account - ''", "it is no Cluster"),
        ("Parent - 'nowhere'", "was not named before"),
        ("Account - 'a\u202eb'", "characters that no name has"),
        ("Account - 'a\0b'", "characters that no name has"),
        ("Account - '" + "x" * 5000 + "'", "too long"),
        ("Account - 'north'", "was named before"),
    ],
)
def test_a_bad_line_is_named_by_its_number(line: str, why: str) -> None:
    dump = read_dump(["Parent - 'root'", "Account - 'north'", line, "Parent - 'north'", "Account - 'good'"])
    ((number, said),) = dump.bad
    assert number == 3
    assert why in said
    assert [one.name for one in dump.accounts] == ["north", "good"]


def test_what_stands_below_an_unknown_account_is_not_taken() -> None:
    dump = read_dump(
        ["Parent - 'nowhere'", "Account - 'lost'", "User - 'mei'", "Parent - 'root'", "Account - 'ok'"]
    )
    assert [number for number, _why in dump.bad] == [1, 2, 3]
    assert [one.name for one in dump.accounts] == ["ok"]


def test_a_description_may_have_quotes_and_colons() -> None:
    dump = read_dump(["Account - 'a':Description='O'Neill's group: optics':Organization='x y'"])
    assert dump.accounts[0].description == "O'Neill's group: optics"
    assert dump.accounts[0].organization == "x y"


# ── Placing ──────────────────────────────────────────────────────────────────


def test_deeper_trees_are_folded_up_and_flatter_ones_filled() -> None:
    accounts = [
        AccountLine(1, "i", "root"),
        AccountLine(2, "l", "i"),
        AccountLine(3, "p", "l"),
        AccountLine(4, "deep", "p"),
        AccountLine(5, "flat", "root"),
        AccountLine(6, "leaf", "i"),
    ]
    users = [UserLine(7, "mei", "l")]
    placed = {one.account.name: (one.institution, one.lab, one.is_project) for one in place(accounts, users)}
    assert placed == {
        "i": ("i", "i", False),
        "l": ("i", "l", True),  # somebody runs on it
        "p": ("i", "l", True),
        "deep": ("i", "l", True),
        "flat": ("flat", "flat", True),
        "leaf": ("i", "leaf", True),
    }


# ── Importing ────────────────────────────────────────────────────────────────


def test_it_makes_institutions_labs_and_projects(tmp_path: Path, firefly: Cluster) -> None:
    said = run(tmp_path)
    assert tree() == {
        ("north", "physics", "physics"),
        ("north", "physics", "quarks"),
        ("north", "physics", "top"),
        ("north", "chem", "chem"),
        ("alone", "alone", "alone"),
    }
    assert Institution.objects.get(account="alone").name == "O'Neill's group: optics"
    assert "new lab Physics, account physics, in Northern University" in said
    assert AuditEvent.objects.filter(action="project registered").count() == 5


def test_twice_is_once(tmp_path: Path, firefly: Cluster) -> None:
    run(tmp_path)
    before = (tree(), AuditEvent.objects.count())
    said = run(tmp_path)
    assert (tree(), AuditEvent.objects.count()) == before
    assert "new" not in said


def test_a_dry_run_says_it_and_changes_nothing(tmp_path: Path, firefly: Cluster) -> None:
    said = run(tmp_path, TREE, "--dry-run")
    assert "line 6: new institution Northern University, account north." in said
    assert "nothing was changed" in said
    assert not Institution.objects.exists()
    assert not AuditEvent.objects.exists()


def test_what_is_there_keeps_its_names(tmp_path: Path, firefly: Cluster, project: Project) -> None:
    run(tmp_path, f"Parent - 'root'\nAccount - '{project.lab.institution.account}':Description='Another'\n")
    project.lab.institution.refresh_from_db()
    assert project.lab.institution.name == "Northlake University"


def test_known_people_get_their_rights_and_the_others_are_named(
    tmp_path: Path, firefly: Cluster, mei: User
) -> None:
    account = ClusterAccountFactory.create(user=mei, cluster=firefly)
    said = run(tmp_path)
    assert {one.project.account for one in Association.objects.usable()} == {"physics", "quarks"}
    assert Membership.objects.current().filter(user=mei, lab__account="physics").exists()
    assert "stranger on quarks is not taken: the portal knows nobody of that name" in said
    assert ("off_board", account.pk) not in list(overdue())


def test_who_left_a_lab_does_not_come_back_by_a_file(tmp_path: Path, firefly: Cluster, mei: User) -> None:
    ClusterAccountFactory.create(user=mei, cluster=firefly)
    run(tmp_path, TREE.replace("User - 'fp-mei'", "User - 'later'"))
    Membership.objects.create(
        user=mei, role="member", lab=Lab.objects.get(account="physics"), ended_at=timezone.now()
    )
    said = run(tmp_path)
    assert "Mei Lin left Physics" in said
    assert not Association.objects.exists()


def test_two_institutions_of_the_same_description(tmp_path: Path, firefly: Cluster) -> None:
    run(tmp_path, "Account - 'a':Description='physics'\nAccount - 'b':Description='physics'\n")
    assert set(Institution.objects.values_list("name", flat=True)) == {"physics", "physics (b)"}


def test_a_name_that_is_no_account_is_told(tmp_path: Path, firefly: Cluster) -> None:
    said = run(tmp_path, "Account - '2020':Description='x'\nAccount - 'good':Description='y'\n")
    assert "line 1: 2020 can't be taken: Use lower-case letters" in said
    assert [one.account for one in Institution.objects.all()] == ["good"]


def test_a_slug_that_another_has_gets_a_number(tmp_path: Path, firefly: Cluster) -> None:
    ProjectFactory.create(slug="physics", account="other")
    run(tmp_path)
    assert Project.objects.get(account="physics").slug == "physics-2"


def test_another_clusters_file_is_refused(tmp_path: Path, firefly: Cluster) -> None:
    with pytest.raises(CommandError, match="of the cluster other, not of firefly"):
        run(tmp_path, "Cluster - 'other'\n")


@pytest.mark.django_db
def test_an_unknown_cluster_or_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no cluster firefly"):
        run(tmp_path)
    with pytest.raises(CommandError, match="Can't read"):
        call_command("import_sacctmgr", str(tmp_path / "none.cfg"), "--cluster", "firefly")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"Account - \n" * 50, b"a" * 100_000])
def test_no_file_makes_it_fall(content: bytes, tmp_path: Path, firefly: Cluster) -> None:
    file = tmp_path / "odd.cfg"
    file.write_bytes(content)
    call_command("import_sacctmgr", str(file), "--cluster", "firefly", stdout=StringIO())
    assert not Institution.objects.exists()
