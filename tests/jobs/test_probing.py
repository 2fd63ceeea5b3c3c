"""Can a cluster's usage be measured? Yes, no, and nobody knows; without a yes, nothing is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounting.models import Capability, Cluster, CollectionWindow
from accounting.periods import last_twelve
from accounting.reports.programmes import Scope, programme
from jobs import actions, collecting, probing, sync
from jobs.schedulers import Answer, AnswerError, Check, Finding
from jobs.schedulers.sacct import ASKED
from jobs.schedulers.slurm import Slurm
from jobs.ssh import Unreachable
from portal.models import AuditEvent, OutgoingMail, User
from tests.conftest import Bell
from tests.factories import ClusterFactory
from tests.jobs.test_sync import Door as QueueDoor
from tests.jobs.test_sync import look
from tests.pages import browser, queries_of, words
from tests.portal.mailbox import delivered

DATA = Path(__file__).resolve().parent.parent / "data"
CONFIG, FIELDS = ((DATA / name).read_text() for name in ("scontrol-config.txt", "sacct-helpformat.txt"))
SIGHT = "level|Operator\nprivate|accounts,events,jobs,reservations,usage,users\naccounts|2\n"
D = "@0123456789abcdef@"
HEADING = "".join(f"{name}{D}" for name in ASKED) + "\n"
NOW = datetime(2026, 11, 24, 13, 52, 19, tzinfo=UTC)  # when they were recorded
PAGE = "/jobs/clusters/firefly/"

# ── The dialect ──────────────────────────────────────────────────────────────


def looked(
    config: str = CONFIG, fields: str = FIELDS, sight: str = SIGHT, heading: str = HEADING
) -> dict[Check, Finding]:
    answers = [Answer(0, text, "") for text in (config, fields, sight, heading)]
    return {finding.check: finding for finding in Slurm().read_probe(answers, NOW, D)}


def wrong(found: dict[Check, Finding]) -> list[Check]:
    return [check for check, finding in found.items() if not finding.ok]


def test_a_slurm_as_it_should_be_is_measured() -> None:
    assert wrong(looked()) == []
    assert set(looked()) == set(Check)


def test_it_asks_only_what_the_gateway_lets_a_collector_ask() -> None:
    calls = Slurm().probe(NOW, D)
    assert [call.verb for call in calls] == ["scontrol-config", "sacct-fields", "sacctmgr-sight", "sacct"]


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ({"config": CONFIG.replace(",gres/gpu,gres/gpu:a100", "")}, Check.GPUS),
        ({"config": CONFIG.replace("gres/gpu,gres/gpu:a100", "gres/gpu:a100,gres/gpumem")}, Check.GPUS),
        (
            {"config": CONFIG.replace("accounting_storage/slurmdbd", "accounting_storage/none")},
            Check.DATABASE,
        ),
        ({"config": CONFIG.replace("as of 2026-11-24T13:52:19", "as of 2026-11-24T14:52:19")}, Check.ZONE),
        ({"config": CONFIG.replace("as of 2026-11-24T13:52:19", "as of 24.11.26 13:52")}, Check.ZONE),
        ({"sight": SIGHT.replace("Operator", "None")}, Check.RIGHTS),
        ({"sight": "level|None\nprivate|none\naccounts|1\n"}, Check.RIGHTS),
        ({"sight": "nothing of the kind\n"}, Check.RIGHTS),
        ({"fields": FIELDS.replace("DBIndex", "       ")}, Check.FIELDS),
        ({"heading": HEADING.replace(D, "|")}, Check.DELIMITER),
        ({"heading": HEADING[len("Cluster") :]}, Check.DELIMITER),
    ],
)
def test_each_thing_that_would_look_like_no_use_is_found(changed: dict[str, str], check: Check) -> None:
    assert wrong(looked(**changed)) == [check]


def test_where_nothing_is_private_an_ordinary_user_sees_enough() -> None:
    assert wrong(looked(sight="level|None\nprivate|none\naccounts|12\n")) == []


@pytest.mark.parametrize("which", range(4))
def test_no_answer_is_neither_yes_nor_no(which: int) -> None:
    answers = [Answer(0, text, "") for text in (CONFIG, FIELDS, SIGHT, HEADING)]
    for bad in (
        Answer(1, "", "error"),
        Answer(None, CONFIG, ""),
        Answer(0, "", ""),
        Answer(0, "x", "", True),
    ):
        with pytest.raises(AnswerError):
            Slurm().read_probe([*answers[:which], bad, *answers[which + 1 :]], NOW, D)


# ── What is kept ─────────────────────────────────────────────────────────────

GOOD = tuple(Finding(check, True, "") for check in Check)
BAD = (Finding(Check.GPUS, False, "cpu,mem"), *GOOD[2:])


class Door:
    def __init__(self) -> None:
        self.says: tuple[Finding, ...] | Exception = GOOD
        self.off = timedelta()
        self.asked = 0

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None: ...

    def probe(self) -> tuple[tuple[Finding, ...], datetime]:
        self.asked += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says, timezone.now() + self.off


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door()
    monkeypatch.setattr(probing, "connect_to", lambda _name: door)
    return door


@pytest.fixture
def clock(db: None) -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def new(firefly: Cluster) -> Cluster:
    """Never looked at."""
    Capability.objects.all().delete()
    return Cluster.objects.get(pk=firefly.pk)


def test_a_new_cluster_is_looked_at_before_its_first_record(new: Cluster, door: Door) -> None:
    assert probing.due() == [new.pk]
    assert probing.is_measured(new)
    assert probing.is_measured(new)
    assert door.asked == 1
    assert probing.due() == []


def test_one_that_can_not_be_measured_is_not_read_and_staff_hear_of_it_once(
    new: Cluster, door: Door, sam: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.says = BAD

    def nobody_asks(_name: str) -> Any:
        raise AssertionError("its records are asked for")

    monkeypatch.setattr(collecting, "connect_to", nobody_asks)
    assert not probing.is_measured(new)
    assert collecting.collect(new.pk) is None
    assert CollectionWindow.objects.get().until is None
    probing.check(new)
    [mail] = OutgoingMail.objects.filter(template="not_measured")
    assert (mail.recipient, mail.context["path"]) == (sam, PAGE)
    assert delivered() == [(sam.email, "The usage of Firefly can't be measured")]
    today = NOW.date()
    assert programme(Scope(), last_twelve(today), as_of=NOW).not_measured == ("Firefly",)
    assert "Not measured: Firefly" in words(browser(sam).get("/reports/"))
    assert browser(sam).get("/api/v1/usage/").json()["not_measured"] == ["Firefly"]


def test_who_does_not_answer_keeps_the_last_answer(new: Cluster, door: Door, clock: Any) -> None:
    door.says = Unreachable("nobody listens there")
    assert not probing.is_measured(new)
    assert Capability.objects.get().measured is None
    assert probing.due() == []  # it was asked this minute
    clock.shift(timedelta(minutes=2))
    assert probing.due() == [new.pk]
    door.says = GOOD
    assert probing.is_measured(new)
    door.says = AnswerError("sacctmgr gave no good answer", transient=True)
    clock.shift(timedelta(days=1))
    assert probing.due() == [new.pk]
    known = probing.check(new)
    assert (known.measured, known.trouble) == (True, "sacctmgr gave no good answer")


def test_a_clock_that_is_wrong_is_found(new: Cluster, door: Door) -> None:
    door.off = timedelta(minutes=6)
    known = probing.check(new)
    assert [one["check"] for one in known.findings if not one["ok"]] == ["clock"]


def test_the_poll_follows_jobs_but_takes_no_record(firefly: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    Capability.objects.update(measured=False, tried_at=timezone.now())
    monkeypatch.setattr(sync, "connect_to", lambda _name: QueueDoor(look()))
    sync.poll(firefly.pk)
    firefly.refresh_from_db()
    assert not hasattr(firefly, "collection")
    assert "can't be measured" in firefly.health.problem


# ── The page ─────────────────────────────────────────────────────────────────


def test_the_page_says_what_was_found_and_what_to_do(new: Cluster, door: Door, sam: User) -> None:
    door.says = BAD
    probing.check(new)
    page = words(browser(sam).get(PAGE))
    assert "Its usage is not measured." in page
    assert "Add gres/gpu to AccountingStorageTRES" in page and "cpu,mem" in page
    assert "Its usage is not measured." in words(browser(sam).get("/jobs/clusters/"))
    assert queries_of(browser(sam), PAGE) <= 15
    told = browser(sam).get("/api/v1/clusters/firefly/collecting/").json()
    assert told["measured"] is False and told["findings"][0]["seen"] == "cpu,mem"


def test_staff_have_it_looked_at_again(
    firefly: Cluster,
    door: Door,
    sam: User,
    bell: Bell,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    probing.check(firefly)
    with django_capture_on_commit_callbacks(execute=True):
        page = words(browser(sam).post(f"{PAGE}check/", follow=True))
    assert "Firefly is looked at now" in page and "a new look is asked for" in page
    assert bell.rang("jobs.tasks.check_cluster") == [(firefly.pk,)]
    assert AuditEvent.objects.filter(action="measurability to be checked", actor=sam).exists()
    assert probing.due() == [firefly.pk]  # should the ring be lost
    probing.check(firefly)
    assert Capability.objects.get().wanted_at is None
    assert probing.due() == []


def test_it_is_for_the_staff(firefly: Cluster, ann: User, mei: User) -> None:
    for who in (ann, mei):
        assert browser(who).get(PAGE).status_code == 403
        with pytest.raises(PermissionDenied):
            actions.ask_for_check(by=who, cluster=firefly)


def test_an_only_accounted_cluster_is_not_looked_at(db: None) -> None:
    ClusterFactory.create(name="ember", accepts_jobs=False)
    assert probing.due() == []
