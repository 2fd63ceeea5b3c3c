"""Who a person is on a cluster, and for which projects they may run there."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounting.models import Cluster
from portal.models import Membership, Project, User
from portal.models.moves import Moving
from portal.models.people import CENTRE_ROLES, LAB_ROLES

posix_name = RegexValidator(
    r"^[a-z][a-z0-9_-]{0,30}\Z", _("Lower-case letters, digits, dash and underscore; at most 31.")
)


class ClusterAccountQuerySet(models.QuerySet["ClusterAccount"]):
    def visible_to(self, user: User) -> ClusterAccountQuerySet:
        """One's own; for the centre, all."""
        return self if user.roles & {*CENTRE_ROLES} else self.filter(user=user)

    def awaited(self) -> ClusterAccountQuerySet:
        """Asked for, and not there yet."""
        return self.filter(state=ClusterAccount.State.REQUESTED)

    def approved(self) -> ClusterAccountQuerySet:
        """Those that the portal may ask the cluster for."""
        return self.filter(Q(cluster__accounts_need_approval=False) | Q(approved_at__isnull=False))

    def leaving(self) -> ClusterAccountQuerySet:
        """From whom something is still to be taken away: in the database, or on the cluster."""
        # The ids of each first: a database sees through them at once, and through an EXISTS only row by row.
        unfounded = Association.objects.unfounded().order_by().values("account")
        return self.filter(Q(pk__in=unfounded) | self._being_shut_out())

    def being_shut_out(self) -> ClusterAccountQuerySet:
        """Flagged, which the sweep does within seconds; the cluster still knows them."""
        return self.filter(self._being_shut_out())

    def _being_shut_out(self) -> Q:
        to_remove = Association.objects.to_remove().order_by().values("account")
        return Q(pk__in=to_remove) | Q(state=ClusterAccount.State.DISABLED, shut_out_at=None)


class ClusterAccount(Moving):
    """The POSIX user that a person is on a cluster: requested → approved → exists → associated → active.

    The times say how far it is; only "active" lets jobs be sent. Without any right to run on a project it is disabled:
    `shut_out_at` is when the cluster said that nobody logs in as it any more.
    """

    class State(models.TextChoices):
        REQUESTED = "requested", _("being made")
        ACTIVE = "active", _("active")
        DISABLED = "disabled", _("disabled")

    MOVES = {
        State.REQUESTED: {State.ACTIVE, State.DISABLED},
        State.ACTIVE: {State.DISABLED},
        State.DISABLED: {State.REQUESTED},
    }

    user = models.ForeignKey(User, models.PROTECT, related_name="cluster_accounts")
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="accounts")
    username = models.CharField(max_length=31, validators=[posix_name])
    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    message = models.CharField(max_length=300, blank=True)  # what the cluster last said against it
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    requested_at = models.DateTimeField(default=timezone.now)  # anew, for who comes back
    approved_at = models.DateTimeField(null=True, blank=True)  # where the cluster's centre wants to be asked
    approved_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    asked_at = models.DateTimeField(null=True, blank=True)  # when the portal asked the cluster for it
    found_at = models.DateTimeField(null=True, blank=True)  # when the POSIX user was there
    shut_out_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)  # a worker makes it, or takes it away

    objects = ClusterAccountQuerySet.as_manager()

    class Meta:
        verbose_name = _("cluster account")
        constraints = [
            models.UniqueConstraint(fields=["user", "cluster"], name="one_account_per_person"),
            models.UniqueConstraint(fields=["cluster", "username"], name="username_never_reused"),
        ]

    def __str__(self) -> str:
        return self.username

    @property
    def is_active(self) -> bool:
        return self.state == self.State.ACTIVE

    @property
    def is_of_newcomer(self) -> bool:
        """Never asked for before: whoever comes back has the name that they had."""
        return self.asked_at is None and self.requested_at == self.created_at

    @property
    def is_approved(self) -> bool:
        return self.approved_at is not None or not self.cluster.accounts_need_approval


class AssociationQuerySet(models.QuerySet["Association"]):
    def live(self) -> AssociationQuerySet:
        return self.filter(ended_at=None)

    def usable(self) -> AssociationQuerySet:
        """The scheduler knows of it, and it holds."""
        return self.live().exclude(made_at=None)

    def unfounded(self) -> AssociationQuerySet:
        """Live, although nothing gives the right any more: no role in the lab, no active project, no active person."""
        roles = Membership.objects.current().filter(
            user=OuterRef("account__user"), lab=OuterRef("project__lab"), role__in=LAB_ROLES
        )
        return self.live().filter(
            ~Exists(roles)
            | ~Q(project__state=Project.State.ACTIVE)
            | Q(project__lab__closed_at__isnull=False)
            | Q(account__user__is_active=False)
        )

    def to_remove(self) -> AssociationQuerySet:
        """Ended, and the scheduler may still know of it."""
        return self.filter(ended_at__isnull=False, removed_at=None)


class Association(models.Model):
    """A person's right, known to the scheduler, to run on a project's account.

    `ended_at`: nothing more is sent on it. `removed_at`: the scheduler doesn't know it any more.
    """

    account = models.ForeignKey(ClusterAccount, models.CASCADE, related_name="associations")
    project = models.ForeignKey(Project, models.PROTECT, related_name="associations")
    made_at = models.DateTimeField(null=True, blank=True)  # empty: still to be made
    ended_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    objects = AssociationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "project"], name="association_once"),
            models.CheckConstraint(
                condition=Q(removed_at=None) | Q(ended_at__isnull=False),
                name="association_ends_before_removal",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} → {self.project.account}"
