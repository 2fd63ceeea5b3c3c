"""Each step of a request mails those whose turn it is, once, in words and with a link."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from django.utils import timezone

from accounting.actions import requests, reviews
from accounting.actions.policies import set_policy
from accounting.models import AllocationRequest, Cluster, Review
from portal.mailing import message
from portal.models import OutgoingMail, Project, Role, User
from tests.conftest import person
from tests.factories import MembershipFactory

HOURS = 3600


@pytest.fixture
def asked(
    project: Project, firefly: Cluster, ada: User, ivo: User, sam: User, ann: User
) -> AllocationRequest:
    """By the institution's admin: its lab's PI is mailed, too."""
    today = timezone.now().date()
    return requests.request_hours(
        by=ada,
        project=project,
        cluster=firefly,
        gpu_seconds=4000 * HOURS,
        start=today,
        end=today + timedelta(days=90),
        justification="Two hundred runs.",
    )


def mailed(template: str) -> set[User | None]:
    return {mail.recipient for mail in OutgoingMail.objects.filter(template=template)}


def texts(template: str) -> Iterable[str]:
    for mail in OutgoingMail.objects.filter(template=template):
        made = message(mail)
        yield f"{made.subject}\n{made.body}".replace("\u202f", " ")


def test_a_request_mails_who_decides(asked: AllocationRequest, sam: User, ann: User) -> None:
    assert mailed("request_submitted") == {sam, ann}
    for text in texts("request_submitted"):
        assert "Quantum Optics asks for 4 000 GPU-hours" in text and f"/requests/{asked.pk}/" in text


def test_sent_again_it_mails_again_and_says_so(
    asked: AllocationRequest, ada: User, ivo: User, sam: User
) -> None:
    reviews.return_request(by=sam, request=asked, comment="How long is one run?")
    assert mailed("request_returned") == {ada, ivo}
    assert all("How long is one run?" in text for text in texts("request_returned"))
    requests.submit_request(by=ada, request=asked)
    assert OutgoingMail.objects.filter(template="request_submitted").count() == 4
    assert sum("The page shows what changed" in text for text in texts("request_submitted")) == 2


def test_who_is_of_the_lab_is_not_asked_to_decide(
    project: Project, firefly: Cluster, ivo: User, sam: User, ann: User
) -> None:
    MembershipFactory.create(user=ann, lab=project.lab)
    today = timezone.now().date()
    requests.request_hours(
        by=ivo, project=project, cluster=firefly, gpu_seconds=HOURS, start=today, end=today, justification="x"
    )
    assert mailed("request_submitted") == {sam}


def test_the_first_approval_mails_who_may_give_the_second(
    asked: AllocationRequest, firefly: Cluster, sam: User, ann: User, ivo: User
) -> None:
    set_policy(by=sam, cluster=firefly, two_approvers_above=HOURS)
    eva = person("Eva Stone", Role.APPROVER)
    MembershipFactory.create(user=ivo, role=Role.APPROVER)
    asked = AllocationRequest.objects.get()
    reviews.approve_request(by=ann, request=asked, gpu_seconds=3000 * HOURS)
    assert mailed("request_endorsed") == {eva}
    assert all("Ann Larsen would grant 3 000 of 4 000" in text for text in texts("request_endorsed"))
    asked = AllocationRequest.objects.get()
    reviews.object_to_award(by=eva, request=asked, endorsement=Review.objects.get(), comment="Too many.")
    assert mailed("request_objected") == {ann}
    assert not mailed("request_approved")


def test_the_award_mails_the_lab_with_its_letter(
    asked: AllocationRequest, sam: User, ada: User, ivo: User
) -> None:
    reviews.approve_request(by=sam, request=asked, gpu_seconds=3000 * HOURS, conditions="Publish <all>.")
    assert mailed("request_approved") == {ada, ivo}
    for text in texts("request_approved"):
        assert "3 000 of the 4 000 GPU-hours" in text and "Publish <all>." in text
        assert f"/requests/{asked.pk}/letter.pdf" in text


def test_a_rejection_mails_its_reason_once(asked: AllocationRequest, sam: User, ada: User, ivo: User) -> None:
    reviews.reject_request(by=sam, request=asked, comment="Not this year.")
    assert mailed("request_rejected") == {ada, ivo}
    assert OutgoingMail.objects.filter(template="request_rejected").count() == 2
    assert all("Not this year." in text for text in texts("request_rejected"))
