"""The things that stand in addresses: what a lab has, who comes into it, and two labs that are strangers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.utils import timezone

from accounting.actions.attachments import attach
from accounting.actions.publications import add_publication
from accounting.actions.requests import submit_request
from accounting.models import (
    Allocation,
    AllocationRequest,
    Attachment,
    BalanceDifference,
    Call,
    Correction,
    Discrepancy,
    Maintenance,
    Partition,
    Publication,
    QuarantinedRecord,
    ReadMonth,
    RefundProposal,
    TechnicalReview,
)
from accounting.usage import record_runs
from jobs.models import ClusterAccount, Job, JobFile, Upload
from jobs.signs import LoginNodeSign
from portal.links import token_of
from portal.models import (
    InstitutionApplication,
    Invitation,
    JoinRequest,
    Lab,
    Membership,
    Project,
    Terms,
    User,
)
from tests.factories import (
    AllocationFactory,
    AllocationRequestFactory,
    ApplicationFactory,
    CallFactory,
    ClusterAccountFactory,
    DiscrepancyFactory,
    InvitationFactory,
    JobFactory,
    JoinRequestFactory,
    LabFactory,
    MembershipFactory,
    ProjectFactory,
    ReviewFactory,
    RunFactory,
    TechnicalReviewFactory,
    UserFactory,
)
from tests.jobs.at_hand import brought, result, uploaded
from tests.pdfs import pdf
from tests.soft_key import SoftKey

PNG = b"\x89PNG\r\n\x1a\nnot much of a picture"


@dataclass(frozen=True)
class Newcomers:
    """Who comes into a lab, and how."""

    membership: Membership  # of the lab's member
    invitation: Invitation
    join_request: JoinRequest
    other_lab: Lab  # of the institution: one may ask to join it
    applied: InstitutionApplication  # waits for the centre
    unconfirmed: InstitutionApplication

    @classmethod
    def to(cls, lab: Lab, owner: User, asker: User) -> Newcomers:
        return cls(
            membership=owner.memberships.get(lab=lab),
            invitation=InvitationFactory.create(email=asker.email, lab=lab),
            join_request=JoinRequestFactory.create(user=asker, lab=lab),
            other_lab=LabFactory.create(
                institution=lab.institution, name=f"{lab.name}, annex", slug=f"{lab.slug}-annex"
            ),
            applied=ApplicationFactory.create(),
            unconfirmed=ApplicationFactory.create(state=InstitutionApplication.State.UNCONFIRMED),
        )

    @property
    def tokens(self) -> dict[str, str]:
        return {
            "invitation": token_of("invitation", self.invitation.nonce),
            "application": token_of("application", self.unconfirmed.nonce),
        }


@dataclass(frozen=True)
class Belongings:
    """What a lab has in the portal: one of each kind that can stand in an address."""

    project: Project
    allocation: Allocation
    waiting: AllocationRequest  # for the centre
    returned: AllocationRequest  # to the lab
    offer: AllocationRequest  # of hours of a third lab, to this one
    attachment: Attachment  # to what waits
    removable: Attachment  # from what was returned
    publication: Publication
    endorsed: AllocationRequest  # by sam, the first of two
    approved: AllocationRequest
    review: TechnicalReview  # of what waits, asked of ann by sam
    call: Call
    refund: RefundProposal  # waits for staff
    correction: Correction  # by one of the staff, waits for a second
    difference: BalanceDifference
    discrepancy: Discrepancy  # of the cluster; which account it is of is the centre's to know
    job: Job
    result: JobFile
    fetch: Any
    upload: Upload  # begun
    newcomers: Newcomers
    role: Membership  # its member's
    switched_off: User  # a member whose access is
    account: ClusterAccount  # its member's, on the cluster
    quarantined: QuarantinedRecord  # of the cluster
    maintenance: Maintenance  # of the cluster, to come
    distrusted: LoginNodeSign  # of the cluster
    sweep: Job
    aside: Job  # of its member, could not be sent
    awaited: ClusterAccount  # of who is switched off: asked for, not approved
    other_lab: Lab  # of the same institution
    closed: Project  # of the lab
    key: Authenticator  # of its owner
    address: EmailAddress  # one more of its owner, not confirmed
    files: Mapping[str, Upload] = field(default_factory=dict)  # a complete upload of each person

    def values(self, address: str) -> dict[str, Any]:
        """What stands in an address, by parameter: `/jobs/<pk>/` → {"pk": 7}."""
        by_part: dict[str, dict[str, Any]] = {
            "/institutions/": {"slug": self.project.lab.institution.slug},
            "/institutions/applications/": {"pk": self.newcomers.applied.pk},
            "/institutions/apply/": {"token": self.newcomers.tokens["application"]},
            "/labs/<pk>/join/": {"pk": self.newcomers.other_lab.pk},
            "/invitations/": {"pk": self.newcomers.invitation.pk, "token": self.newcomers.tokens["invitation"]},
            "/join-requests/": {"pk": self.newcomers.join_request.pk},
            "/projects/": {"slug": self.project.slug},
            "/allocations/": {"pk": self.allocation.pk},
            "/projects/<slug>/reopen/": {"slug": self.closed.slug},
            "/people/": {"pk": self.role.user_id},
            "/people/<pk>/switch-on/": {"pk": self.switched_off.pk},
            "/terms/": {"pk": Terms.objects.filter(kind=Terms.Kind.USE).latest("version").pk},
            "/cluster-accounts/": {"pk": self.account.pk},
            "/cluster-accounts/<pk>/approve/": {"pk": self.awaited.pk},
            "/memberships/": {"pk": self.role.pk},
            "/labs/": {"pk": self.project.lab_id},
            "/jobs/accounts/": {"pk": self.account.pk},
            "/requests/": {"pk": self.waiting.pk, "file_pk": self.attachment.pk, "file_id": self.attachment.pk},
            "/requests/<pk>/edit/": {"pk": self.returned.pk},
            "/requests/<pk>/autosave/": {"pk": self.returned.pk},
            "/requests/<pk>/consent/": {"pk": self.offer.pk},
            "/requests/<pk>/publications/": {"pk": self.returned.pk, "publication_pk": self.publication.pk},
            "/requests/<pk>/attachments/": {"pk": self.returned.pk, "file_pk": self.removable.pk, "file_id": self.removable.pk},
            "/requests/<pk>/submit/": {"pk": self.returned.pk},
            "/requests/<pk>/agree/": {"pk": self.endorsed.pk},
            "/requests/<pk>/object/": {"pk": self.endorsed.pk},
            "/requests/<pk>/letter.pdf": {"pk": self.approved.pk},
            "/reviews/": {"pk": self.review.pk},
            "/technical-reviews/": {"pk": self.review.pk},
            "/calls/": {"pk": self.call.pk},
            "/refunds/": {"pk": self.refund.pk},
            "/corrections/": {"pk": self.correction.pk},
            "/clusters/differences/": {"pk": self.difference.pk},
            "/clusters/discrepancies/": {"pk": self.discrepancy.pk},
            "/discrepancies/": {"pk": self.discrepancy.pk},
            "/policies/": {"name": self.allocation.cluster.name},
            "/jobs/<pk>/": {"pk": self.job.pk, "file_pk": self.result.pk, "file_id": self.result.pk, "stream": "stdout"},
            "/jobs/<pk>/tasks/": {"pk": self.sweep.pk},
            "/jobs/clusters/": {"name": self.allocation.cluster.name},
            "/jobs/clusters/<name>/maintenance/": {"name": self.allocation.cluster.name, "pk": self.maintenance.pk},
            "/maintenance/": {"pk": self.maintenance.pk},
            "/jobs/health/": {"pk": self.distrusted.pk},
            "/login-nodes/": {"pk": self.distrusted.pk},
            "/jobs/unsent/": {"pk": self.aside.pk},
            "/unsent/": {"pk": self.aside.pk},
            "/jobs/uploads/": {"pk": self.upload.pk},
            "/jobs/fetches/": {"pk": self.fetch.pk},
            "/uploads/": {"pk": self.upload.pk},
            "/clusters/": {"name": self.allocation.cluster.name},
            "/clusters/quarantine/": {"pk": self.quarantined.pk},
            "/quarantine/": {"pk": self.quarantined.pk},
            "/accounts/password/reset/key/": {"uidb36": "1", "key": "set-password"},
            "/accounts/confirm-email/": {"key": EmailConfirmationHMAC(self.address).key},
            "/accounts/oidc/": {"provider_id": "elsewhere"},
            "/accounts/2fa/webauthn/keys/": {"pk": self.key.pk},
        }  # fmt: skip
        if address == "/api/v1/requests/<pk>/":
            return {"pk": self.returned.pk}
        short = address.removeprefix("/api/v1")
        return by_part[max((part for part in by_part if short.startswith(part)), key=len)]


@dataclass(frozen=True)
class World:
    people: dict[str, User]
    optics: Belongings  # mei's lab's
    folding: Belongings  # otto's lab's


def belongings(
    owner: User, leader: User, asker: User, allocation: Allocation, partition: Partition
) -> Belongings:
    """A lab's things: `owner`'s running job and what it left, an upload, what `leader` asked for, and `asker`, who comes in."""
    project = allocation.project
    job = JobFactory.create(
        owner=owner,
        allocation=allocation,
        partition=partition,
        name=f"{project.title} job",
        state=Job.State.RUNNING,
        scheduler_id=str(4000 + allocation.pk),
    )
    file = result(job, "fringes.png", PNG)
    asked = {"project": project, "cluster": allocation.cluster, "created_by": leader}
    returned = AllocationRequestFactory.create(**asked, state=AllocationRequest.State.RETURNED)
    removable = attach(by=leader, request=returned, name="figures.pdf", chunks=[pdf()])
    waiting = AllocationRequestFactory.create(**asked, state=AllocationRequest.State.DRAFT)
    attachment = attach(by=leader, request=waiting, name="figures.pdf", chunks=[pdf()])
    submit_request(by=leader, request=waiting)
    endorsed = AllocationRequestFactory.create(**asked, state=AllocationRequest.State.ENDORSED)
    ReadMonth.objects.get_or_create(cluster=allocation.cluster, month=last_month())
    switched_off = switched_off_in(project.lab)
    sam, ann = (User.objects.get(email=f"{name}@example.org") for name in ("sam", "ann"))
    ReviewFactory.create(request=endorsed, reviewer=sam, verdict="endorsed", gpu_seconds_awarded=3600)
    return Belongings(
        project=project,
        allocation=allocation,
        waiting=waiting,
        returned=returned,
        offer=AllocationRequestFactory.create(
            cluster=allocation.cluster,
            kind=AllocationRequest.Kind.TRANSFER,
            allocation=AllocationFactory.create(cluster=allocation.cluster),
            to_project=project,
        ),
        attachment=attachment,
        removable=removable,
        publication=add_publication(
            by=leader, project=project, doi=f"10.1000/{project.slug}", title=f"On {project.title}", year=2026
        ),
        endorsed=endorsed,
        approved=project.requests.get(state=AllocationRequest.State.APPROVED),
        review=TechnicalReviewFactory.create(request=waiting, reviewer=ann, asked_by=sam),
        call=CallFactory.create(cluster=allocation.cluster, created_by=sam),
        refund=refund_of(allocation),
        correction=Correction.objects.create(
            allocation=allocation, gpu_seconds=3600, reason="Repairs.", proposed_by=UserFactory.create()
        ),
        difference=BalanceDifference.objects.create(
            kind="day", subject=f"day {allocation.pk}", expected=1, found=2, cluster=allocation.cluster
        ),
        discrepancy=DiscrepancyFactory.create(cluster=allocation.cluster, account=project.account),
        job=job,
        result=file,
        fetch=brought(file, PNG),
        upload=Upload.objects.create(owner=owner, path="begun.csv", size=3),
        newcomers=Newcomers.to(project.lab, owner, asker),
        role=owner.memberships.get(),
        switched_off=switched_off,
        maintenance=Maintenance.objects.create(
            cluster=allocation.cluster,
            begins_at=timezone.now() + timedelta(days=30 + allocation.pk),
            until=timezone.now() + timedelta(days=30 + allocation.pk, hours=4),
            sentence="New cables.",
            set_by=sam,
        ),
        distrusted=LoginNodeSign.objects.create(
            cluster=allocation.cluster,
            host=f"login{allocation.pk}",
            port=22,
            host_key="ssh-ed25519 AAAA",
            tried_at=timezone.now(),
            distrusted_at=timezone.now(),
        ),
        sweep=JobFactory.create(
            owner=owner, allocation=allocation, partition=partition, name=f"{project.title} sweep", tasks=30
        ),
        aside=JobFactory.create(
            owner=owner, allocation=allocation, partition=partition, name=f"{project.title} kept", attempts=5
        ),
        awaited=ClusterAccountFactory.create(
            user=switched_off,
            cluster=allocation.cluster,
            username=f"fp-off{switched_off.pk}",
            state=ClusterAccount.State.REQUESTED,
        ),
        account=ClusterAccountFactory.create(user=owner, cluster=allocation.cluster),
        quarantined=QuarantinedRecord.objects.create(
            cluster=allocation.cluster, fingerprint=project.slug, text="9|x|", reason="is cut off"
        ),
        other_lab=LabFactory.create(institution=project.lab.institution),
        closed=ProjectFactory.create(lab=project.lab, state=Project.State.CLOSED),
        key=second_factors(owner),
        address=EmailAddress.objects.create(user=owner, email=f"further.{owner.email}"),
        files={person.name: uploaded(person, f"{person.pk}.sh") for person in (owner, leader)},
    )


def last_month() -> date:
    """The first day of the month before this one."""
    return (timezone.now().date().replace(day=1) - timedelta(days=1)).replace(day=1)


def refund_of(allocation: Allocation) -> RefundProposal:
    """A run of two GPUs for an hour, until its node failed."""
    run = RunFactory.create(
        state="NODE_FAIL", account=allocation.project.account, cluster=allocation.cluster.name
    )
    record_runs([run], cluster=allocation.cluster, as_of=timezone.now(), in_queue=())
    return RefundProposal.objects.get(allocation=allocation)


def switched_off_in(lab: Lab) -> User:
    """A member of `lab` who can't log in any more."""
    gone = UserFactory.create(is_active=False)
    MembershipFactory.create(user=gone, role="member", lab=lab)
    return gone


def second_factors(owner: User) -> Authenticator:
    """An app and a security key that nobody holds, and recovery codes; the key."""
    TOTP.activate(owner, generate_totp_secret())
    RecoveryCodes.activate(owner)
    return Authenticator.objects.create(
        user=owner,
        type=Authenticator.Type.WEBAUTHN,
        data={"name": "Blue key", "credential": json.loads(SoftKey().registers())},
    )


def touch_upload(upload: Upload) -> None:
    """Make the begun upload's file, empty."""
    upload.stored_at.parent.mkdir(parents=True, exist_ok=True)
    upload.stored_at.write_bytes(b"")
