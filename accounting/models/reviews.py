"""What the centre said of a request: decisions with their words, technical reviews, and the policies and calls they follow."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models.clusters import Cluster
from accounting.models.requests import AllocationRequest
from portal.models import User
from portal.models.moves import Moving
from portal.models.people import CENTRE_ROLES


class Review(models.Model):
    """What somebody of the centre said of a request."""

    class Verdict(models.TextChoices):
        ENDORSED = "endorsed", _("approved, a second approver has to agree")
        OBJECTED = "objected", _("not agreed by the second approver")
        APPROVED = "approved", _("approved")
        RETURNED = "returned", _("returned for changes")
        REJECTED = "rejected", _("rejected")

    request = models.ForeignKey(AllocationRequest, models.PROTECT, related_name="reviews")
    # Empty: the centre's policy granted it at once.
    reviewer = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    verdict = models.CharField(max_length=10, choices=Verdict)
    gpu_seconds_awarded = models.BigIntegerField(default=0)
    end_awarded = models.DateField(null=True, blank=True)  # where it differs from what was asked
    conditions = models.TextField(_("conditions"), blank=True, max_length=5000)  # of an approval
    comment = models.TextField(_("comment"), blank=True, max_length=5000)
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.CheckConstraint(
                name="award_goes_with_approval",
                condition=Q(verdict__in=("approved", "endorsed"), gpu_seconds_awarded__gte=0)
                | (~Q(verdict__in=("approved", "endorsed")) & Q(gpu_seconds_awarded=0, conditions="")),
            )
        ]

    def __str__(self) -> str:
        return f"{self.reviewer}: {self.get_verdict_display()}"


class Tranche(models.Model):
    """A part of an award, granted on its day. An award in one piece has none."""

    review = models.ForeignKey(Review, models.PROTECT, related_name="tranches")
    gpu_seconds = models.BigIntegerField()
    available_from = models.DateField(_("available from"))

    class Meta:
        ordering = ["available_from", "pk"]
        constraints = [
            models.CheckConstraint(condition=Q(gpu_seconds__gt=0), name="tranche_grants_something"),
            models.UniqueConstraint(fields=["review", "available_from"], name="one_tranche_a_day"),
        ]

    def __str__(self) -> str:
        return f"{self.available_from}: {self.gpu_seconds}"


class FieldComment(models.Model):
    """What should change in one field of a returned request: shown beside it."""

    review = models.ForeignKey(Review, models.PROTECT, related_name="field_comments")
    field = models.CharField(max_length=40)  # a field's name of the request's form
    text = models.TextField(max_length=2000)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["review", "field"], name="one_comment_per_field")]

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


class TechnicalReviewQuerySet(models.QuerySet["TechnicalReview"]):
    def of_centre(self, user: User) -> TechnicalReviewQuerySet:
        """Those that `user`, of the centre, may open: of requests in sight."""
        if not user.roles & {*CENTRE_ROLES}:
            return self.none()
        return self.filter(request__in=AllocationRequest.objects.visible_to(user))

    def readable_to(self, user: User) -> TechnicalReviewQuerySet:
        """`of_centre` without what is not for them: of their own requests, and colleagues' where they have a conflict."""
        labs = [m.lab_id for m in user.current_memberships if m.lab_id]
        institutions = [m.institution_id for m in user.current_memberships if m.institution_id]
        own = Q(request__created_by=user) | Q(request__project__lab__in=labs)
        own |= Q(request__project__lab__institution__in=institutions)
        conflicts = TechnicalReview.objects.filter(reviewer=user, state=TechnicalReview.State.CONFLICTED)
        theirs = Q(request__in=conflicts.values("request")) & ~Q(reviewer=user)
        return self.of_centre(user).exclude(own).exclude(theirs)

    def waiting_for(self, user: User) -> TechnicalReviewQuerySet:
        """Those that `user` was asked for and has not answered, of requests that are not decided."""
        return self.filter(
            reviewer=user,
            state=TechnicalReview.State.ASKED,
            request__state__in=AllocationRequest.WITH_CENTRE,
        )


class TechnicalReview(Moving):
    """Somebody of the centre was asked whether a request is sound. Advice: it decides nothing."""

    class State(models.TextChoices):
        ASKED = "asked", _("asked")
        WRITTEN = "written", _("written")
        CONFLICTED = "conflicted", _("conflict of interest")
        CALLED_OFF = "called_off", _("called off")

    MOVES = {
        State.ASKED: {State.WRITTEN, State.CONFLICTED, State.CALLED_OFF},
        State.WRITTEN: frozenset[State](),
        State.CONFLICTED: frozenset[State](),
        State.CALLED_OFF: {State.ASKED},
    }

    request = models.ForeignKey(AllocationRequest, models.PROTECT, related_name="technical_reviews")
    reviewer = models.ForeignKey(User, models.PROTECT, related_name="technical_reviews")
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.ASKED)
    asked_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(default=timezone.now, editable=False)
    due = models.DateField(_("due"))
    score = models.PositiveSmallIntegerField(
        _("score"), null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(5)]
    )
    comment = models.TextField(_("comment"), blank=True, max_length=10_000)
    has_no_conflict = models.BooleanField(_("no conflict of interest"), default=False)  # declared
    answered_at = models.DateTimeField(null=True, blank=True)

    objects = TechnicalReviewQuerySet.as_manager()

    class Meta:
        ordering = ["asked_at", "pk"]
        verbose_name = _("technical review")
        constraints = [
            models.UniqueConstraint(fields=["request", "reviewer"], name="one_review_per_reviewer"),
            models.CheckConstraint(
                name="written_review_is_whole",
                condition=~Q(state="written")
                | Q(has_no_conflict=True, score__gte=1, score__lte=5) & ~Q(comment=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer}: {self.get_state_display()}"


class CallQuerySet(models.QuerySet["Call"]):
    def open(self) -> CallQuerySet:
        now = timezone.now()
        return self.filter(opens_at__lte=now, closes_at__gt=now)


class Call(models.Model):
    """An invitation to ask for hours until a deadline. Without one, requests are taken at any time."""

    title = models.CharField(_("title"), max_length=200)
    text = models.TextField(_("what it is for"), max_length=10_000)
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="calls", verbose_name=_("cluster"))
    opens_at = models.DateTimeField(_("opens"))
    closes_at = models.DateTimeField(_("closes"))
    gpu_seconds = models.BigIntegerField(null=True, blank=True)  # to be given out; empty: not said
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = CallQuerySet.as_manager()

    class Meta:
        ordering = ["closes_at", "pk"]
        verbose_name = _("call")
        constraints = [
            models.CheckConstraint(condition=Q(closes_at__gt=F("opens_at")), name="call_closes_after_opening")
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.opens_at <= timezone.now() < self.closes_at

    @property
    def is_over(self) -> bool:
        return self.closes_at <= timezone.now()


class Policy(models.Model):
    """A cluster's rules for requests and allocations. Without a row, the defaults here hold."""

    cluster = models.OneToOneField(Cluster, models.CASCADE, related_name="policy")
    # Requests for hours up to this are granted at once; 0: none.
    grant_at_once_up_to = models.BigIntegerField(default=0)
    # Awards above this need two approvers; empty: none does.
    two_approvers_above = models.BigIntegerField(null=True, blank=True)
    # Corrections of a balance by hand above this need a second person; empty: none does.
    second_person_above = models.BigIntegerField(null=True, blank=True)
    # After its last day, hours of an allocation can still be used for so many days.
    grace_days = models.PositiveSmallIntegerField(default=0)
    # So much of what an allocation was granted may be carried over, unused, to its renewal.
    carry_over_percent = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(100)])
    # Use it or lose it: when `checkpoint_percent` of the days are gone, what is missing to having used
    # `checkpoint_used_percent` of the grant expires; 0: no such day.
    checkpoint_percent = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(100)])
    checkpoint_used_percent = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(100)])
    # A renewal needs a progress report on the allocation before.
    report_before_renewal = models.BooleanField(default=True)
    # A month is closed by itself so many days after its last one; empty: only by hand.
    close_months_after_days = models.PositiveSmallIntegerField(null=True, blank=True)

    class Meta:
        verbose_name = _("policy")
        constraints = [
            models.CheckConstraint(
                name="policy_percents",
                condition=Q(
                    carry_over_percent__lte=100,
                    checkpoint_percent__lte=100,
                    checkpoint_used_percent__lte=100,
                    grant_at_once_up_to__gte=0,
                ),
            )
        ]

    def __str__(self) -> str:
        return f"policy of {self.cluster}"


def policy_of(cluster: Cluster) -> Policy:
    """The cluster's rules: its row, or the defaults."""
    return getattr(cluster, "policy", None) or Policy(cluster=cluster)
