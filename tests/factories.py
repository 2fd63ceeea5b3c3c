"""Rows for tests, one factory per noun: `ProjectFactory.create(lab=optics)`. What a test does not name is plausible."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from django.utils import timezone
from factory.base import Factory
from factory.declarations import (
    LazyAttribute,
    LazyFunction,
    PostGeneration,
    SelfAttribute,
    Sequence,
    SubFactory,
)
from factory.django import DjangoModelFactory, Password

from accounting import ledger
from accounting.models import (
    Allocation,
    AllocationRequest,
    Call,
    Capability,
    ChargeFactor,
    Cluster,
    Collection,
    Discrepancy,
    Hold,
    Partition,
    Review,
    TechnicalReview,
)
from accounting.runs import Run
from accounting.units import SECONDS_PER_HOUR
from jobs.models import ClusterAccount, Job
from portal.models import (
    Funder,
    Institution,
    InstitutionApplication,
    Invitation,
    JoinRequest,
    Lab,
    Membership,
    Project,
    Role,
    Terms,
    User,
)
from portal.registering import confirm_only_address

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
PASSWORD = "correct horse battery staple"


def _confirm(user: User, create: bool, confirmed: bool | None) -> None:
    if create and confirmed is not False:
        confirm_only_address(user)


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User
        skip_postgeneration_save = True

    name = Sequence(lambda n: f"Person {n}")
    email = LazyAttribute(lambda user: user.name.lower().replace(" ", ".") + "@example.org")
    password = Password(PASSWORD)
    confirmed = PostGeneration(_confirm)


class InstitutionFactory(DjangoModelFactory[Institution]):
    class Meta:
        model = Institution

    name = Sequence(lambda n: f"University {n}")
    slug = LazyAttribute(lambda institution: institution.name.lower().replace(" ", "-"))
    account = LazyAttribute(lambda institution: institution.slug)
    country = "DE"


class LabFactory(DjangoModelFactory[Lab]):
    class Meta:
        model = Lab

    institution = SubFactory(InstitutionFactory)
    name = Sequence(lambda n: f"Lab {n}")
    slug = LazyAttribute(lambda lab: lab.name.lower().replace(" ", "-"))
    account = LazyAttribute(lambda lab: f"{lab.institution.account}-{lab.slug}")


class FunderFactory(DjangoModelFactory[Funder]):
    class Meta:
        model = Funder

    name = Sequence(lambda n: f"Funder {n}")
    slug = LazyAttribute(lambda funder: funder.name.lower().replace(" ", "-"))


class MembershipFactory(DjangoModelFactory[Membership]):
    """Name the place that the role is held in: `lab=`, `institution=` or `funder=`; none for the centre's roles."""

    class Meta:
        model = Membership

    user = SubFactory(UserFactory)
    role = Role.MEMBER


class InvitationFactory(DjangoModelFactory[Invitation]):
    """Name the place, as for a membership."""

    class Meta:
        model = Invitation

    email = Sequence(lambda n: f"invited{n}@northlake.example")
    role = Role.MEMBER
    invited_by = SubFactory(UserFactory)


class JoinRequestFactory(DjangoModelFactory[JoinRequest]):
    class Meta:
        model = JoinRequest

    user = SubFactory(UserFactory)
    lab = SubFactory(LabFactory)


class ApplicationFactory(DjangoModelFactory[InstitutionApplication]):
    """Confirmed, and waiting for the centre."""

    class Meta:
        model = InstitutionApplication

    state = InstitutionApplication.State.WAITING
    name = Sequence(lambda n: f"Applying Institute {n}")
    country = "CN"
    mail_domain = Sequence(lambda n: f"applying{n}.example")
    contact_name = "Nora Lindqvist"
    contact_email = LazyAttribute(lambda application: f"nora@{application.mail_domain}")
    purpose = "Segmenting CT scans."
    confirmed_at = LazyAttribute(
        lambda application: (
            None if application.state == InstitutionApplication.State.UNCONFIRMED else timezone.now()
        )
    )


class TermsFactory(DjangoModelFactory[Terms]):
    class Meta:
        model = Terms

    kind = Terms.Kind.USE
    version = 1
    text_en = "Be kind to the cluster."
    text_zh_hans = "请爱护集群。"


class ProjectFactory(DjangoModelFactory[Project]):
    class Meta:
        model = Project

    lab = SubFactory(LabFactory)
    title = Sequence(lambda n: f"Project {n}")
    slug = LazyAttribute(lambda project: project.title.lower().replace(" ", "-"))
    account = LazyAttribute(lambda project: project.slug)
    state = Project.State.ACTIVE


def _measured(cluster: Cluster, create: bool, measured: bool | None) -> None:
    Capability.objects.create(cluster=cluster, measured=True if measured is None else measured)


class ClusterFactory(DjangoModelFactory[Cluster]):
    """Its usage can be measured; `measured=False`: it can't."""

    class Meta:
        model = Cluster
        skip_postgeneration_save = True

    name = Sequence(lambda n: f"cluster{n}")
    title = LazyAttribute(lambda cluster: cluster.name.capitalize())
    accepts_jobs = True

    measured = PostGeneration(_measured)


def _price(partition: Partition, create: bool, factor: Decimal | None) -> None:
    if factor is not None:
        ChargeFactorFactory.create(partition=partition, factor=factor)


class PartitionFactory(DjangoModelFactory[Partition]):
    """`factor=Decimal("0.5")` sets its price since long ago; without, there is none, which means 1."""

    class Meta:
        model = Partition
        skip_postgeneration_save = True

    cluster = SubFactory(ClusterFactory)
    name = Sequence(lambda n: f"partition{n}")
    gpu_type = "a100"
    node_count = 4
    gpus_per_node = 8
    cpus_per_gpu = 16
    memory_per_gpu_mib = 65_536
    max_time_minutes = 1440

    factor = PostGeneration(_price)


class ChargeFactorFactory(DjangoModelFactory[ChargeFactor]):
    class Meta:
        model = ChargeFactor

    partition = SubFactory(PartitionFactory)
    factor = Decimal(1)
    valid_from = LONG_AGO


class AllocationRequestFactory(DjangoModelFactory[AllocationRequest]):
    """`gpu_hours=` says how many hours are asked."""

    class Meta:
        model = AllocationRequest

    class Params:
        gpu_hours = 1000

    project = SubFactory(ProjectFactory)
    cluster = SubFactory(ClusterFactory)
    state = AllocationRequest.State.SUBMITTED
    gpu_seconds_asked = LazyAttribute(lambda request: request.gpu_hours * SECONDS_PER_HOUR)
    start = LazyFunction(lambda: timezone.now().date())
    end = LazyAttribute(lambda request: request.start + timedelta(days=180))
    justification = "Training runs for the second half of the year."
    created_by = SubFactory(UserFactory)
    submitted_at = LazyAttribute(
        lambda request: None if request.state == AllocationRequest.State.DRAFT else timezone.now()
    )


class ReviewFactory(DjangoModelFactory[Review]):
    class Meta:
        model = Review

    request = SubFactory(AllocationRequestFactory, state=AllocationRequest.State.APPROVED)
    reviewer = SubFactory(UserFactory)
    verdict = Review.Verdict.APPROVED
    gpu_seconds_awarded = LazyAttribute(
        lambda review: review.request.gpu_seconds_asked if review.verdict == Review.Verdict.APPROVED else 0
    )


class TechnicalReviewFactory(DjangoModelFactory[TechnicalReview]):
    class Meta:
        model = TechnicalReview

    request = SubFactory(AllocationRequestFactory)
    reviewer = SubFactory(UserFactory)
    asked_by = SubFactory(UserFactory)
    due = LazyFunction(lambda: timezone.now().date() + timedelta(days=7))


class CallFactory(DjangoModelFactory[Call]):
    """Open since yesterday, for two weeks."""

    class Meta:
        model = Call

    title = Sequence(lambda n: f"Call {n}")
    text = "For projects that need more than a thousand GPU-hours."
    cluster = SubFactory(ClusterFactory)
    opens_at = LazyFunction(lambda: timezone.now() - timedelta(days=1))
    closes_at = LazyAttribute(lambda call: call.opens_at + timedelta(days=15))
    created_by = SubFactory(UserFactory)


def _grant(allocation: Allocation, create: bool, gpu_hours: int | None) -> None:
    if gpu_hours == 0:
        return
    review = ReviewFactory.create(
        request__project=allocation.project,
        request__cluster=allocation.cluster,
        request__start=allocation.start,
        request__end=allocation.end,
        request__gpu_hours=gpu_hours or 1000,
    )
    ledger.grant(allocation, review.gpu_seconds_awarded, review=review, by=review.reviewer)


class AllocationFactory(DjangoModelFactory[Allocation]):
    """With its request, review and grant in the ledger: `gpu_hours=5000`; 0 for an allocation without any."""

    class Meta:
        model = Allocation
        skip_postgeneration_save = True

    project = SubFactory(ProjectFactory)
    cluster = SubFactory(ClusterFactory)
    start = LazyFunction(lambda: timezone.now().date() - timedelta(days=30))
    end = LazyAttribute(lambda allocation: allocation.start + timedelta(days=210))
    usable_until = LazyAttribute(lambda allocation: allocation.end)

    gpu_hours = PostGeneration(_grant)


class HoldFactory(DjangoModelFactory[Hold]):
    class Meta:
        model = Hold

    allocation = SubFactory(AllocationFactory)
    reference = Sequence(lambda n: f"hold{n:022}")
    gpu_seconds = SECONDS_PER_HOUR


class CollectionFactory(DjangoModelFactory[Collection]):
    class Meta:
        model = Collection

    cluster = SubFactory(ClusterFactory)
    complete_until = LazyFunction(timezone.now)


class DiscrepancyFactory(DjangoModelFactory[Discrepancy]):
    """Open: the scheduler says 60 GPU-seconds more than we do."""

    class Meta:
        model = Discrepancy

    cluster = SubFactory(ClusterFactory)
    day = date(2026, 3, 10)
    account = Sequence(lambda n: f"account{n}")
    ours = 3600
    theirs = 3660


class RunFactory(Factory[Run]):
    """One record of the scheduler's accounting: 2 GPUs for one hour, ended well, unless the test says otherwise."""

    class Meta:
        model = Run

    cluster = "firefly"
    db_index = Sequence(lambda n: str(1000 + n))
    job_id_raw = LazyAttribute(lambda run: run.db_index)
    job_id = LazyAttribute(lambda run: run.job_id_raw)
    account = "squeezed-light"
    user = "fp-mei"
    partition = "a100"
    qos = "normal"
    submit = LazyAttribute(lambda run: run.start)
    start = datetime(2026, 3, 10, 12, tzinfo=UTC)
    end = LazyAttribute(lambda run: run.start + timedelta(hours=1))
    state = "COMPLETED"
    gpus = 2


class ClusterAccountFactory(DjangoModelFactory[ClusterAccount]):
    class Meta:
        model = ClusterAccount

    user = SubFactory(UserFactory)
    cluster = SubFactory(ClusterFactory)
    username = LazyAttribute(lambda account: "fp-" + account.user.name.split()[0].lower())
    state = ClusterAccount.State.ACTIVE


class JobFactory(DjangoModelFactory[Job]):
    """Without its hold and files: a test that needs them submits through the action."""

    class Meta:
        model = Job

    owner = SubFactory(UserFactory)
    allocation = SubFactory(AllocationFactory)
    project = LazyAttribute(lambda job: job.allocation.project)
    cluster = LazyAttribute(lambda job: job.allocation.cluster)
    partition = SubFactory(PartitionFactory, cluster=SelfAttribute("..cluster"))
    name = Sequence(lambda n: f"job {n}")
    gpus = 2
    time_limit_minutes = 60
