"""An approved piece of research: what GPU-hours are granted to."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from portal.fields_of_science import CHOICES
from portal.models.moves import Moving
from portal.models.people import CENTRE_ROLES, LAB_ROLES, Funder, Lab, Role, User, account_name


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User) -> ProjectQuerySet:
        """Projects whose page this person may open. A funder sees totals in reports, never a project's page."""
        if user.roles & {*CENTRE_ROLES}:
            return self
        labs = [m.lab_id for m in user.current_memberships if m.role in LAB_ROLES]
        institutions = [
            m.institution_id for m in user.current_memberships if m.role == Role.INSTITUTION_ADMIN
        ]
        return self.filter(models.Q(lab__in=labs) | models.Q(lab__institution__in=institutions))

    def of_labs_of(self, user: User) -> ProjectQuerySet:
        """Projects whose lab this person works in, as member or PI: where they may submit."""
        return self.filter(lab__in=[m.lab_id for m in user.current_memberships if m.role in LAB_ROLES])

    def ids(self) -> list[int]:
        """Asked for at once. To look among millions of rows by some ids and an OR, a database uses its indexes; by a join, not."""
        return list(self.order_by().values_list("pk", flat=True))

    def active(self) -> ProjectQuerySet:
        return self.filter(state=Project.State.ACTIVE)


class Project(Moving):
    """Its `account` is its name in the scheduler's account tree, below its lab's and its institution's."""

    class State(models.TextChoices):
        PROPOSED = "proposed", _("proposed")
        ACTIVE = "active", _("active")
        DECLINED = "declined", _("declined")
        CLOSED = "closed", _("closed")

    MOVES = {
        State.PROPOSED: {State.ACTIVE, State.DECLINED},
        State.ACTIVE: {State.CLOSED},
        State.DECLINED: frozenset[State](),
        State.CLOSED: {State.ACTIVE},
    }

    lab = models.ForeignKey(Lab, models.PROTECT, related_name="projects")
    funder = models.ForeignKey(Funder, models.PROTECT, null=True, blank=True, related_name="projects")
    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(_("title"), max_length=200)
    abstract = models.TextField(_("abstract"), blank=True, max_length=5000)
    # A code of portal.fields_of_science; empty: not said.
    field_of_science = models.CharField(
        _("field of science"),
        max_length=4,
        blank=True,
        choices=CHOICES,
        error_messages={"invalid_choice": _("“%(value)s” is no code of a field of science, such as 1.2.")},
    )
    grant_number = models.CharField(_("grant number"), max_length=100, blank=True)  # the funder's
    account = models.CharField(_("account"), max_length=63, unique=True, validators=[account_name])
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PROPOSED)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["title"]
        indexes = [models.Index(fields=["title", "id"], name="projects_by_title")]

    def __str__(self) -> str:
        return self.title
