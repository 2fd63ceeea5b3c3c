"""Who is who: people, the institutions and labs they belong to, and who pays."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

# Slurm folds account names to lower case; ours are lower case from the start, or they would not match.
account_name = RegexValidator(
    r"^[a-z][a-z0-9._-]{0,62}$", _("Use lower-case letters, digits, dot, dash and underscore.")
)


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=email.lower(), **fields)
        user.set_password(password)
        user.save()
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser):
    """A person. What they may do is told by their memberships, never by a flag here."""

    email = models.EmailField(_("e-mail address"), unique=True)
    name = models.CharField(_("name"), max_length=150)
    is_active = models.BooleanField(default=True)
    language = models.CharField(max_length=10, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]
    objects: ClassVar[UserManager] = UserManager()

    def __str__(self) -> str:
        return self.name or self.email

    @cached_property
    def current_memberships(self) -> list[Membership]:
        """What this person belongs to today; read once per request."""
        return list(self.memberships.current().select_related("lab__institution", "institution", "funder"))

    @cached_property
    def roles(self) -> frozenset[str]:
        return frozenset(membership.role for membership in self.current_memberships)


class Institution(models.Model):
    """A university or an institute: the first level under the root of the scheduler's account tree."""

    name = models.CharField(_("name"), max_length=200, unique=True)
    slug = models.SlugField(max_length=60, unique=True)
    country = models.CharField(
        _("country"), max_length=2, blank=True, help_text=_("Two-letter code, such as CN.")
    )
    account = models.CharField(_("account"), max_length=63, unique=True, validators=[account_name])
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Lab(models.Model):
    """A group under a PI."""

    institution = models.ForeignKey(Institution, models.PROTECT, related_name="labs")
    name = models.CharField(_("name"), max_length=200)
    slug = models.SlugField(max_length=60)
    account = models.CharField(_("account"), max_length=63, unique=True, validators=[account_name])
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["institution", "slug"], name="lab_slug_in_institution")
        ]

    def __str__(self) -> str:
        return self.name


class Funder(models.Model):
    """Who pays for projects, and reads what the money bought: totals, never a person or a job."""

    name = models.CharField(_("name"), max_length=200, unique=True)
    slug = models.SlugField(max_length=60, unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """Each is held in one kind of place: a lab, an institution, a funder, or the centre itself."""

    MEMBER = "member", _("lab member")
    PI = "pi", _("PI")
    INSTITUTION_ADMIN = "institution_admin", _("institution admin")
    STAFF = "staff", _("centre staff")
    APPROVER = "approver", _("approver")
    FUNDER = "funder", _("funder")


LAB_ROLES = (Role.MEMBER, Role.PI)
CENTRE_ROLES = (Role.STAFF, Role.APPROVER)


class MembershipQuerySet(models.QuerySet["Membership"]):
    def current(self) -> MembershipQuerySet:
        return self.filter(ended_at=None)

    def in_lab(self, lab: Lab) -> MembershipQuerySet:
        return self.filter(lab=lab)

    def visible_to(self, user: User) -> MembershipQuerySet:
        """Who is in one's labs and leads one's institutions; for the centre, everybody."""
        if user.roles & {*CENTRE_ROLES}:
            return self
        labs = [m.lab_id for m in user.current_memberships if m.role in LAB_ROLES]
        institutions = [
            m.institution_id for m in user.current_memberships if m.role == Role.INSTITUTION_ADMIN
        ]
        return self.filter(
            Q(lab__in=labs) | Q(lab__institution__in=institutions) | Q(institution__in=institutions)
        )


class Membership(models.Model):
    """A person's role in a place. Ending one keeps the row: who was a member when is a fact."""

    user = models.ForeignKey(User, models.PROTECT, related_name="memberships")
    role = models.CharField(_("role"), max_length=20, choices=Role)
    lab = models.ForeignKey(Lab, models.PROTECT, null=True, blank=True, related_name="memberships")
    institution = models.ForeignKey(
        Institution, models.PROTECT, null=True, blank=True, related_name="memberships"
    )
    funder = models.ForeignKey(Funder, models.PROTECT, null=True, blank=True, related_name="memberships")
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        ordering = ["user__name", "role"]
        constraints = [
            models.CheckConstraint(
                name="membership_place_fits_role",
                condition=(
                    Q(role__in=LAB_ROLES, lab__isnull=False, institution=None, funder=None)
                    | Q(role=Role.INSTITUTION_ADMIN, lab=None, institution__isnull=False, funder=None)
                    | Q(role=Role.FUNDER, lab=None, institution=None, funder__isnull=False)
                    | Q(role__in=CENTRE_ROLES, lab=None, institution=None, funder=None)
                ),
            ),
            # One for each kind of place: in a unique index, SQLite takes every empty place for another one.
            *(
                models.UniqueConstraint(
                    fields=["user", "role", place],
                    condition=Q(("ended_at", None), (f"{place}__isnull", False)),
                    name=f"membership_once_in_{place}",
                )
                for place in ("lab", "institution", "funder")
            ),
            models.UniqueConstraint(
                fields=["user", "role"],
                condition=Q(ended_at=None, lab=None, institution=None, funder=None),
                name="membership_once_in_centre",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}, {self.get_role_display()}, {self.place}"

    @property
    def place(self) -> Lab | Institution | Funder | None:
        """Where the role holds; None is the whole centre."""
        return self.lab or self.institution or self.funder
