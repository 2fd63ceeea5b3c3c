"""How an institution and a person come in: applications, invitations, requests to join, and the terms they accept."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy as _

from portal.links import new_nonce
from portal.models.moves import Moving
from portal.models.people import Funder, Institution, Lab, Role, User, led_by, place_fits_role

INVITATION_LASTS = timedelta(days=7)


def a_week_from_now() -> datetime:
    return timezone.now() + INVITATION_LASTS


class TermsQuerySet(models.QuerySet["Terms"]):
    def in_force(self, kind: str) -> Terms | None:
        return self.filter(kind=kind).order_by("-version").first()

    def unaccepted_by(self, user: User) -> Terms | None:
        """The terms of use in force, unless this person has accepted them."""
        of_use = self.filter(kind=Terms.Kind.USE)
        latest = of_use.filter(pk=models.Subquery(of_use.order_by("-version").values("pk")[:1]))
        accepted = TermsAcceptance.objects.filter(user=user, terms=models.OuterRef("pk"))
        # The texts are long, and mostly not asked for.
        return latest.filter(~models.Exists(accepted)).defer("text_en", "text_zh_hans").first()


class Terms(models.Model):
    """One version of a text that has to be accepted. Published texts never change: a new one is a new version."""

    class Kind(models.TextChoices):
        USE = "use", _("terms of use")  # by each person, before they submit
        AGREEMENT = "agreement", _("agreement with institutions")  # when an institution applies

    kind = models.CharField(max_length=10, choices=Kind)
    version = models.PositiveIntegerField()
    text_en = models.TextField(_("text in English"), max_length=100_000)
    text_zh_hans = models.TextField(_("text in Chinese"), max_length=100_000)
    published_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    published_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TermsQuerySet.as_manager()

    class Meta:
        ordering = ["kind", "-version"]
        verbose_name = _("terms")
        constraints = [models.UniqueConstraint(fields=["kind", "version"], name="one_text_per_version")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.version}"

    @property
    def text(self) -> str:
        """In the reader's language."""
        return self.text_zh_hans if (translation.get_language() or "").startswith("zh") else self.text_en


class TermsAcceptance(models.Model):
    """Who accepted which version, when."""

    user = models.ForeignKey(User, models.PROTECT, related_name="terms_acceptances")
    terms = models.ForeignKey(Terms, models.PROTECT, related_name="acceptances")
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "terms"], name="accepted_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.terms}"


class InstitutionApplication(Moving):
    """An institution asks to be registered. Its contact proves the address in its mail domain before staff see it."""

    class State(models.TextChoices):
        UNCONFIRMED = "unconfirmed", _("address not confirmed")
        WAITING = "waiting", _("waiting for the centre")
        ACCEPTED = "accepted", _("accepted")
        DECLINED = "declined", _("declined")

    MOVES = {
        State.UNCONFIRMED: {State.WAITING},
        State.WAITING: {State.ACCEPTED, State.DECLINED},
        State.ACCEPTED: frozenset[State](),
        State.DECLINED: frozenset[State](),
    }

    state = models.CharField(_("state"), max_length=12, choices=State, default=State.UNCONFIRMED)
    name = models.CharField(_("name of the institution"), max_length=200)
    country = models.CharField(_("country"), max_length=2)
    mail_domain = models.CharField(_("mail domain"), max_length=253)
    contact_name = models.CharField(_("contact"), max_length=150)
    contact_email = models.EmailField(_("contact's e-mail address"))
    purpose = models.TextField(_("what for"), max_length=5000)
    agreement = models.ForeignKey(Terms, models.PROTECT, null=True, blank=True, related_name="+")
    nonce = models.CharField(max_length=32, unique=True, default=new_nonce)  # of the link in the mail
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.TextField(_("comment"), max_length=5000, blank=True)
    institution = models.ForeignKey(
        Institution, models.PROTECT, null=True, blank=True, related_name="applications"
    )

    class Meta:
        ordering = ["created_at"]
        verbose_name = _("application of an institution")

    def __str__(self) -> str:
        return self.name


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self) -> InvitationQuerySet:
        return self.unanswered().filter(expires_at__gt=timezone.now())

    def unanswered(self) -> InvitationQuerySet:
        """Also those whose seven days are over: they can be sent again."""
        return self.filter(accepted_at=None, revoked_at=None)

    def visible_to(self, user: User) -> InvitationQuerySet:
        """Those into one's own labs and institutions, for who invites there; for the centre's staff, all."""
        if Role.STAFF in user.roles:
            return self
        institutions = [m.institution_id for m in user.current_memberships]
        return self.filter(led_by(user) | Q(institution__in=institutions))


class Invitation(models.Model):
    """A role in a place, offered to one address: single use, seven days. What is kept does not open it."""

    email = models.EmailField(_("e-mail address"))
    role = models.CharField(_("role"), max_length=20, choices=Role)
    lab = models.ForeignKey(Lab, models.PROTECT, null=True, blank=True, related_name="invitations")
    institution = models.ForeignKey(
        Institution, models.PROTECT, null=True, blank=True, related_name="invitations"
    )
    funder = models.ForeignKey(Funder, models.PROTECT, null=True, blank=True, related_name="invitations")
    nonce = models.CharField(max_length=32, unique=True, default=new_nonce)  # of the link in the mail
    invited_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    invited_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(default=a_week_from_now)
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-invited_at", "-pk"]
        verbose_name = _("invitation")
        constraints = [
            models.CheckConstraint(name="invitation_place_fits_role", condition=place_fits_role()),
            models.CheckConstraint(
                name="invitation_accepted_by_somebody",
                condition=Q(accepted_at=None, accepted_by=None)
                | Q(accepted_at__isnull=False, accepted_by__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email}, {self.role_word}"

    @property
    def role_word(self) -> str:
        return str(Role(self.role).label)

    @property
    def place(self) -> Lab | Institution | Funder | None:
        return self.lab or self.institution or self.funder

    @property
    def is_open(self) -> bool:
        return not self.accepted_at and not self.revoked_at and self.expires_at > timezone.now()


class JoinRequestQuerySet(models.QuerySet["JoinRequest"]):
    def waiting(self) -> JoinRequestQuerySet:
        return self.filter(state=JoinRequest.State.WAITING)

    def visible_to(self, user: User) -> JoinRequestQuerySet:
        """One's own, and those to labs where one says yes or no."""
        if Role.STAFF in user.roles:
            return self
        return self.filter(Q(user=user) | led_by(user))


class JoinRequest(Moving):
    """A person asks to become a member of a lab; its PI says yes or no."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting for the PI")
        ACCEPTED = "accepted", _("accepted")
        DECLINED = "declined", _("declined")
        WITHDRAWN = "withdrawn", _("withdrawn")

    MOVES = {
        State.WAITING: {State.ACCEPTED, State.DECLINED, State.WITHDRAWN},
        State.ACCEPTED: frozenset[State](),
        State.DECLINED: frozenset[State](),
        State.WITHDRAWN: frozenset[State](),
    }

    user = models.ForeignKey(User, models.PROTECT, related_name="join_requests")
    lab = models.ForeignKey(Lab, models.PROTECT, related_name="join_requests")
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    message = models.TextField(_("message to the PI"), max_length=2000, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = JoinRequestQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]
        verbose_name = _("request to join")
        constraints = [
            models.UniqueConstraint(
                fields=["user", "lab"], condition=Q(state="waiting"), name="one_open_request_to_join"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} → {self.lab}"
