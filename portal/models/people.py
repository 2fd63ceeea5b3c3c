"""Who is who: people, the institutions and labs they belong to, and who pays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from portal.models.among import among

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

    def visible_to(self, user: User) -> models.QuerySet[User]:
        """Oneself, and whose roles, of today or before, one may see; for the centre, everybody."""
        if user.roles & {*CENTRE_ROLES}:
            return self.all()
        if not user.roles:
            return self.filter(pk=user.pk)
        # Whoever has a role is among them. Not by an OR, for which a database looks at each person there is.
        theirs = Membership.objects.visible_to(user).filter(user=OuterRef("pk"))
        return self.filter(Exists(theirs))


class User(AbstractBaseUser):
    """A person. What they may do is told by their memberships, never by a flag here."""

    email = models.EmailField(_("e-mail address"), unique=True)
    name = models.CharField(_("name"), max_length=150)
    is_active = models.BooleanField(default=True)
    language = models.CharField(max_length=10, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        indexes = [models.Index(fields=["name", "id"], name="people_by_name")]

    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]
    objects: ClassVar[UserManager] = UserManager()

    def __str__(self) -> str:
        return self.name or self.email

    @cached_property
    def current_memberships(self) -> list[Membership]:
        """What this person belongs to today; read once per request."""
        held = self.memberships.current().order_by("role", "pk")
        return list(held.select_related("lab__institution", "institution", "funder"))

    @cached_property
    def roles(self) -> frozenset[str]:
        return frozenset(membership.role for membership in self.current_memberships)

    @cached_property
    def labs_looked_after(self) -> list[int]:
        """The keys of all labs of the institutions whose admin this person is; read once per request.

        Asked for at once: with an OR over joined tables, a database looks at each row there is.
        """
        held = self.current_memberships
        institutions = [m.institution_id for m in held if m.role == Role.INSTITUTION_ADMIN]
        if not institutions:
            return []
        return list(Lab.objects.filter(institution__in=institutions).order_by().values_list("pk", flat=True))


class InstitutionQuerySet(models.QuerySet["Institution"]):
    def visible_to(self, user: User) -> InstitutionQuerySet:
        """Where one works or which one looks after; for the centre, all."""
        if user.roles & {*CENTRE_ROLES}:
            return self
        own = (m.lab.institution_id if m.lab else m.institution_id for m in user.current_memberships)
        return self.filter(pk__in=[pk for pk in own if pk])

    def like(self, name: str, mail_domain: str) -> InstitutionQuerySet:
        """Those of the same name or mail domain: most likely the same one."""
        same_domain = Q(mail_domain=mail_domain) if mail_domain else Q()
        return self.filter(Q(name__iexact=name) | same_domain)


class Institution(models.Model):
    """A university or an institute: the first level under the root of the scheduler's account tree."""

    name = models.CharField(_("name"), max_length=200, unique=True)
    slug = models.SlugField(max_length=60, unique=True)
    country = models.CharField(
        _("country"), max_length=2, blank=True, help_text=_("Two-letter code, such as CN.")
    )
    account = models.CharField(_("account"), max_length=63, unique=True, validators=[account_name])
    mail_domain = models.CharField(
        _("mail domain"),
        max_length=253,
        blank=True,
        help_text=_(
            "People with a verified address in it may ask to join its labs, such as northlake.example."
        ),
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = InstitutionQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class LabQuerySet(models.QuerySet["Lab"]):
    def open(self) -> LabQuerySet:
        return self.filter(closed_at=None)

    def visible_to(self, user: User) -> LabQuerySet:
        """Where one works, and those of institutions that one looks after; for the centre, all."""
        if user.roles & {*CENTRE_ROLES}:
            return self
        labs = [m.lab_id for m in user.current_memberships if m.role in LAB_ROLES]
        institutions = [
            m.institution_id for m in user.current_memberships if m.role == Role.INSTITUTION_ADMIN
        ]
        return self.filter(Q(pk__in=labs) | Q(institution__in=institutions))

    def joinable_from(self, domains: Iterable[str]) -> LabQuerySet:
        """Open labs of institutions with one of these mail domains."""
        return self.open().filter(institution__mail_domain__in=set(domains) - {""})


class Lab(models.Model):
    """A group under a PI."""

    institution = models.ForeignKey(Institution, models.PROTECT, related_name="labs")
    name = models.CharField(_("name"), max_length=200)
    slug = models.SlugField(max_length=60)
    account = models.CharField(_("account"), max_length=63, unique=True, validators=[account_name])
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True)  # nobody joins, asks or submits there any more

    objects = LabQuerySet.as_manager()

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
LAB_ROLE_CHOICES = [(role.value, role.label) for role in LAB_ROLES]
CENTRE_ROLES = (Role.STAFF, Role.APPROVER)


def place_fits_role() -> Q:
    """For a check constraint on a row with a role and the three kinds of place: exactly the right one is given."""
    return (
        Q(role__in=LAB_ROLES, lab__isnull=False, institution=None, funder=None)
        | Q(role=Role.INSTITUTION_ADMIN, lab=None, institution__isnull=False, funder=None)
        | Q(role=Role.FUNDER, lab=None, institution=None, funder__isnull=False)
        | Q(role__in=CENTRE_ROLES, lab=None, institution=None, funder=None)
    )


def led_by(user: User) -> Q:
    """Rows with a `lab` that this person leads, as its PI or for its institution."""
    labs = [m.lab_id for m in user.current_memberships if m.lab_id and m.role == Role.PI]
    return Q(among("lab", [*labs, *user.labs_looked_after]))


class MembershipQuerySet(models.QuerySet["Membership"]):
    def current(self) -> MembershipQuerySet:
        return self.filter(ended_at=None)

    def in_lab(self, lab: Lab) -> MembershipQuerySet:
        return self.filter(lab=lab)

    def visible_to(self, user: User) -> MembershipQuerySet:
        """One's own, who is in one's labs and leads one's institutions; for the centre, everybody."""
        if user.roles & {*CENTRE_ROLES}:
            return self
        labs = [m.lab_id for m in user.current_memberships if m.lab_id and m.role in LAB_ROLES]
        institutions = [
            m.institution_id for m in user.current_memberships if m.role == Role.INSTITUTION_ADMIN
        ]
        seen = among("lab", [*labs, *user.labs_looked_after])
        return self.filter(Q(user=user) | seen | Q(institution__in=institutions))


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
            models.CheckConstraint(name="membership_place_fits_role", condition=place_fits_role()),
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
        return f"{self.user}, {self.role_word}, {self.place}"

    @property
    def role_word(self) -> str:
        """In the reader's language. Django's get_role_display goes through all roles each time; lists have many rows."""
        return str(Role(self.role).label)

    @property
    def place(self) -> Lab | Institution | Funder | None:
        """Where the role holds; None is the whole centre."""
        return self.lab or self.institution or self.funder
