"""Each kind of request asks for what it needs, and for nothing else."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.mail import EmailMessage
from django.utils import timezone

from accounting.models import Allocation, AllocationRequest, Call, Cluster, Partition, Policy, ProgressReport
from portal import mailing
from portal.models import OutgoingMail, Project, User
from tests.factories import AllocationFactory, AllocationRequestFactory, ChargeFactorFactory, ProjectFactory
from tests.pages import assert_like_nowhere, browser, words

NEW = "/projects/squeezed-light/request/"
HOURS = 3600


def days(first: int, last: int) -> dict[str, str]:
    today = timezone.now().date()
    return {"start": f"{today + timedelta(days=first)}", "end": f"{today + timedelta(days=last)}"}


def of(kind: str, allocation: Allocation) -> str:
    return f"{NEW}?kind={kind}&allocation={allocation.pk}"


def test_what_is_asked_is_the_sum_at_the_partitions_prices(
    ivo: User, allocation: Allocation, a100: Partition, a100_preemptible: Partition
) -> None:
    rows = {
        f"hours_{a100.pk}": "100", f"why_{a100.pk}": "Training.",
        f"hours_{a100_preemptible.pk}": "300",
    }  # fmt: skip
    wish = {"cluster": allocation.cluster_id, "justification": "Because.", "send": "1", **days(0, 90), **rows}
    page = words(browser(ivo).post(NEW, wish, follow=True))
    asked = AllocationRequest.objects.latest("pk")
    assert asked.state == "submitted"
    assert asked.gpu_seconds_asked == (100 + 150) * HOURS
    assert [line.gpu_seconds // HOURS for line in asked.lines.all()] == [100, 300]
    assert "250 GPU-hours for Squeezed light" in page and "Training." in page


def test_hours_that_cost_nothing_need_no_request(ivo: User, project: Project, a100: Partition) -> None:
    ChargeFactorFactory.create(partition=a100, factor=Decimal(0), valid_from=timezone.now())
    wish = {
        "cluster": a100.cluster_id,
        f"hours_{a100.pk}": "5",
        "justification": "x",
        "send": "1",
        **days(0, 9),
    }
    assert "Type how many GPU-hours" in words(browser(ivo).post(NEW, wish))


def test_a_supplement_asks_for_hours_within_the_allocation_s_time(
    ivo: User, allocation: Allocation, a100: Partition
) -> None:
    page = browser(ivo).get(of("supplement", allocation))
    assert set(page.context["form"].fields) >= {"justification", f"hours_{a100.pk}"}
    assert not {"start", "end", "cluster"} & set(page.context["form"].fields)
    browser(ivo).post(
        of("supplement", allocation), {f"hours_{a100.pk}": "50", "justification": "More.", "send": "1"}
    )
    asked = AllocationRequest.objects.latest("pk")
    assert (asked.kind, asked.allocation, asked.state) == ("supplement", allocation, "submitted")
    assert (asked.start, asked.end) == (allocation.start, allocation.end)


def test_an_extension_asks_for_a_later_day_only(ivo: User, allocation: Allocation) -> None:
    url, words_ = of("extension", allocation), {"justification": "Delayed.", "send": "1"}
    early = browser(ivo).post(url, {"end": f"{allocation.end}", **words_})
    assert "lasts until then anyway" in words(early)
    later = allocation.end + timedelta(days=60)
    page = words(browser(ivo).post(url, {"end": f"{later}", **words_}, follow=True))
    asked = AllocationRequest.objects.latest("pk")
    assert (asked.kind, asked.end, asked.gpu_seconds_asked, asked.state) == (
        "extension",
        later,
        0,
        "submitted",
    )
    assert "More time for Squeezed light" in page


def test_a_renewal_waits_for_the_report_on_what_was_before(
    ivo: User, allocation: Allocation, a100: Partition
) -> None:
    first = allocation.end + timedelta(days=1)
    wish = {
        "start": f"{first}", "end": f"{first + timedelta(days=90)}", f"hours_{a100.pk}": "10",
        "justification": "On.", "send": "1",
    }  # fmt: skip
    early = {**wish, "start": f"{allocation.end}"}
    assert "Start after it" in words(browser(ivo).post(of("renewal", allocation), early))
    page = words(browser(ivo).post(of("renewal", allocation), wish, follow=True))
    asked = AllocationRequest.objects.latest("pk")
    assert (asked.kind, asked.state, asked.start) == ("renewal", "draft", first)
    assert "Write the progress report" in page
    ProgressReport.objects.create(allocation=allocation, text="Much.", written_by=ivo)
    browser(ivo).post(f"/requests/{asked.pk}/submit/")
    asked.refresh_from_db()
    assert asked.state == "submitted"


def test_where_the_policy_wants_no_report_none_is_needed(
    ivo: User, allocation: Allocation, a100: Partition
) -> None:
    Policy.objects.create(cluster=allocation.cluster, report_before_renewal=False)
    first = allocation.end + timedelta(days=1)
    wish = {
        "start": f"{first}",
        "end": f"{first}",
        f"hours_{a100.pk}": "1",
        "justification": "On.",
        "send": "1",
    }
    browser(ivo).post(of("renewal", allocation), wish)
    assert AllocationRequest.objects.latest("pk").state == "submitted"


@pytest.mark.parametrize(
    "query", ["?kind=gift", "?kind=renewal", "?kind=renewal&allocation=x", "?kind=supplement&allocation=9999"]
)
def test_an_address_that_means_nothing_is_nowhere(ivo: User, allocation: Allocation, query: str) -> None:
    assert_like_nowhere(browser(ivo), NEW + query)


def test_another_lab_s_allocation_is_none(ivo: User, project: Project) -> None:
    assert_like_nowhere(browser(ivo), of("supplement", AllocationFactory.create()))


# ── Transfers ────────────────────────────────────────────────────────────────


@pytest.fixture
def helices(vera: User, folding: Project, project: Project) -> Project:
    return ProjectFactory.create(
        lab=folding, title="Hidden helices", slug="hidden-helices", funder=project.funder
    )


@pytest.fixture
def offer(ivo: User, allocation: Allocation, helices: Project) -> AllocationRequest:
    browser(ivo).post(of("transfer", allocation), handed(to_project="hidden-helices"))
    return AllocationRequest.objects.latest("pk")


def handed(**other: str) -> dict[str, str]:
    return {
        "to_project": "",
        "gpu_hours": "1000",
        "justification": "Our secret reasons.",
        "send": "1",
    } | other


def test_a_transfer_waits_for_the_receiver_s_consent(
    vera: User, ivo: User, sam: User, offer: AllocationRequest
) -> None:
    assert (offer.state, offer.lacks_consent, offer.gpu_seconds_asked) == ("submitted", True, 1000 * HOURS)
    assert [mail.to for mail in OutgoingMail.objects.filter(template="transfer_consent")] == [vera.email]
    assert not AllocationRequest.objects.waiting().filter(pk=offer.pk).exists()
    decided = browser(sam).post(f"/requests/{offer.pk}/decide/", {"verdict": "approve", "gpu_hours": "1000"})
    assert decided.status_code == 403
    page = words(browser(vera).get(f"/requests/{offer.pk}/consent/"))
    assert "Squeezed light" in page and "1 000" in page and "secret" not in page
    for path in ("/", "/requests/"):
        assert "1 000 GPU-hours are offered to a project of yours" in words(browser(vera).get(path))
        assert "are offered" not in words(browser(ivo).get(path))
    browser(vera).post(f"/requests/{offer.pk}/consent/", {"answer": "agree"})
    offer.refresh_from_db()
    assert (offer.consented_by, offer.lacks_consent) == (vera, False)
    assert "are offered" not in words(browser(vera).get("/"))
    assert AllocationRequest.objects.waiting().filter(pk=offer.pk).exists()


def test_what_is_declined_is_back_with_its_lab(
    vera: User, ivo: User, offer: AllocationRequest, mailoutbox: list[EmailMessage]
) -> None:
    answer = {"answer": "decline", "reason": "We have enough."}
    assert "You have declined" in words(
        browser(vera).post(f"/requests/{offer.pk}/consent/", answer, follow=True)
    )
    offer.refresh_from_db()
    assert (offer.state, offer.consented_at) == ("returned", None)
    mail = OutgoingMail.objects.get(template="transfer_declined")
    assert mail.to == ivo.email
    mailing.send_waiting()
    offered, declined = mailoutbox
    assert offered.subject == "1 000 GPU-hours are offered to “Hidden helices”"
    assert f"/requests/{offer.pk}/consent/" in offered.body
    assert declined.subject == "The transfer from “Squeezed light” was declined"
    assert "We have enough." in declined.body
    again = browser(vera).post(f"/requests/{offer.pk}/consent/", {"answer": "agree"}, follow=True)
    assert "does not wait for an answer any more" in words(again)


def test_only_the_receiver_s_pi_is_asked(
    ivo: User, ada: User, sam: User, otto: User, mei: User, offer: AllocationRequest
) -> None:
    for person in (ivo, ada, sam, otto, mei):
        assert_like_nowhere(browser(person), f"/requests/{offer.pk}/consent/")


def test_another_amount_needs_consent_anew(
    vera: User, ivo: User, sam: User, offer: AllocationRequest
) -> None:
    browser(vera).post(f"/requests/{offer.pk}/consent/", {"answer": "agree"})
    browser(sam).post(f"/requests/{offer.pk}/decide/", {"verdict": "return", "comment": "Fewer."})
    edit = f"/requests/{offer.pk}/edit/"
    other_words = handed(to_project="hidden-helices", justification="Other words.")
    del other_words["send"]
    browser(ivo).post(edit, other_words)
    assert AllocationRequest.objects.get(pk=offer.pk).consented_by == vera
    browser(ivo).post(edit, handed(to_project="hidden-helices", gpu_hours="900"))
    offer.refresh_from_db()
    assert (offer.gpu_seconds_asked, offer.lacks_consent, offer.state) == (900 * HOURS, True, "submitted")
    assert OutgoingMail.objects.filter(template="transfer_consent").count() == 2


def test_who_leads_both_projects_has_agreed(ivo: User, allocation: Allocation, optics: Project) -> None:
    ProjectFactory.create(lab=optics, slug="slow-light", funder=allocation.project.funder)
    browser(ivo).post(of("transfer", allocation), handed(to_project="slow-light"))
    asked = AllocationRequest.objects.latest("pk")
    assert (asked.state, asked.consented_by) == ("submitted", ivo)


@pytest.mark.parametrize("slug", ["squeezed-light", "nowhere", "of-another-funder", "closed", "a\0b"])
def test_hours_go_to_active_projects_of_the_same_funder(ivo: User, allocation: Allocation, slug: str) -> None:
    ProjectFactory.create(slug="of-another-funder")
    ProjectFactory.create(slug="closed", funder=allocation.project.funder, state=Project.State.CLOSED)
    page = words(browser(ivo).post(of("transfer", allocation), handed(to_project=slug)))
    assert "no other active project of the same funder" in page or "Null characters" in page


def test_nobody_hands_over_more_than_is_left(ivo: User, allocation: Allocation, helices: Project) -> None:
    page = words(
        browser(ivo).post(of("transfer", allocation), handed(to_project="hidden-helices", gpu_hours="5001"))
    )
    assert "has 5 000 GPU-hours left" in page


# ── Calls ────────────────────────────────────────────────────────────────────


def call(cluster: Cluster, sam: User, opens: int = -1, closes: int = 1) -> Call:
    now = timezone.now()
    return Call.objects.create(
        title="Spring call", text="For all.", cluster=cluster, created_by=sam,
        opens_at=now + timedelta(days=opens), closes_at=now + timedelta(days=closes),
    )  # fmt: skip


def test_an_open_call_is_offered_and_a_closed_one_takes_nothing(
    ivo: User, sam: User, project: Project, a100: Partition
) -> None:
    spring = call(a100.cluster, sam)
    wish = {
        "cluster": a100.cluster_id,
        f"hours_{a100.pk}": "5",
        "justification": "x",
        "call": spring.pk,
        **days(0, 9),
    }
    browser(ivo).post(NEW, wish)
    asked = AllocationRequest.objects.latest("pk")
    assert (asked.call, asked.state) == (spring, "draft")
    Call.objects.update(
        opens_at=timezone.now() - timedelta(days=2), closes_at=timezone.now() - timedelta(days=1)
    )
    page = words(browser(ivo).post(f"/requests/{asked.pk}/submit/", follow=True))
    assert "The call “Spring call” is closed" in page
    page = words(browser(ivo).post(f"/requests/{asked.pk}/edit/", {**wish, "send": "1"}))
    assert "This call is closed" in page
    assert AllocationRequest.objects.get(pk=asked.pk).state == "draft"


def test_what_was_sent_in_time_may_be_mended_after(
    ivo: User, sam: User, project: Project, a100: Partition
) -> None:
    asked = AllocationRequestFactory.create(
        project=project,
        cluster=a100.cluster,
        created_by=ivo,
        state="returned",
        call=call(a100.cluster, sam, -3, -1),
    )
    browser(ivo).post(f"/requests/{asked.pk}/submit/")
    asked.refresh_from_db()
    assert asked.state == "submitted"


def test_the_list_is_narrowed(ivo: User, allocation: Allocation) -> None:
    of_project = {"project": allocation.project, "cluster": allocation.cluster, "created_by": ivo}
    AllocationRequestFactory.create(**of_project, state="withdrawn", kind="extension", allocation=allocation)
    listed = browser(ivo).get("/requests/?state=withdrawn&kind=extension&project=squeezed")
    assert len(listed.context["page"].object_list) == 1
    assert "No request is like that" in words(browser(ivo).get("/requests/?state=draft"))
    assert len(browser(ivo).get("/requests/?state=nonsense").context["page"].object_list) == 2
