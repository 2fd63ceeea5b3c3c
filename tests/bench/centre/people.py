"""Institutions, labs, people, their roles, and what they do research on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

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
    User,
)
from tests.bench.centre import sizes
from tests.bench.centre.sizes import BATCH, dice

GIVEN = (
    "Mei",
    "Ivo",
    "Ada",
    "Otto",
    "Lin",
    "Noor",
    "Hans",
    "Yuki",
    "Omar",
    "Lena",
    "Ravi",
    "Sofia",
    "Wei",
    "Tomas",
    "Ines",
)
FAMILY = (
    "Lin",
    "Petrov",
    "Okafor",
    "Brandt",
    "Sato",
    "Novak",
    "Costa",
    "Haddad",
    "Moreau",
    "Singh",
    "Zhang",
    "Silva",
    "Meyer",
)
SUBJECTS = (
    "optics",
    "proteins",
    "turbulence",
    "galaxies",
    "batteries",
    "climate",
    "speech",
    "catalysis",
    "genomes",
    "plasma",
)
MANNERS = ("Quantum", "Learned", "Turbulent", "Fast", "Deep", "Sparse", "Coupled", "Stochastic", "Inverse", "Hybrid")  # fmt: skip


@dataclass(frozen=True)
class Places:
    """What the rest is hung on. The first of each was there before."""

    now: datetime
    labs: list[Lab]
    projects: list[Project]
    people_of: dict[int, list[User]]  # by the lab's pk
    leader_of: dict[int, User]
    centre: list[User]  # its staff and approvers


def fill() -> Places:
    now = timezone.now().replace(hour=6, minute=0, second=0, microsecond=0)
    funders = _funders()
    labs = _labs(_institutions())
    projects = _projects(labs, funders, now)
    people_of, leader_of = _people(labs, now)
    centre = list(User.objects.filter(memberships__role__in=(Role.STAFF, Role.APPROVER)).order_by("pk"))
    _ways_in(labs, people_of, leader_of)
    return Places(now, labs, projects, people_of, leader_of, centre)


def _funders() -> list[Funder]:
    there = list(Funder.objects.order_by("pk"))
    new = [Funder(name=f"Science Foundation {n:02}", slug=f"foundation-{n:02}") for n in range(sizes.FUNDERS)]
    return there + Funder.objects.bulk_create(new)


def _institutions() -> list[Institution]:
    there = list(Institution.objects.order_by("pk"))
    new = [
        Institution(
            name=f"University of Place {n:03}",
            slug=f"place-{n:03}",
            account=f"place{n:03}",
            country=("CN", "DE", "FR", "JP")[n % 4],
            mail_domain=f"place{n:03}.example",
        )
        for n in range(sizes.INSTITUTIONS - len(there))
    ]
    return there + Institution.objects.bulk_create(new, BATCH)


def _labs(institutions: list[Institution]) -> list[Lab]:
    throw, there = dice(1), list(Lab.objects.order_by("pk"))
    new = [
        Lab(
            institution=throw.one(institutions),
            name=f"{throw.evenly(MANNERS)} {throw.evenly(SUBJECTS)} {n:04}",
            slug=f"lab-{n:04}",
            account=f"lab{n:04}",
        )
        for n in range(sizes.LABS - len(there))
    ]
    return there + Lab.objects.bulk_create(new, BATCH)


def _projects(labs: list[Lab], funders: list[Funder], now: datetime) -> list[Project]:
    throw, there = dice(2), list(Project.objects.order_by("pk"))
    states = (
        *[Project.State.ACTIVE] * 17,
        Project.State.PROPOSED,
        Project.State.CLOSED,
        Project.State.CLOSED,
    )
    new = [
        Project(
            lab=throw.one(labs),
            funder=throw.one(funders) if n % 3 else None,
            slug=f"project-{n:04}",
            title=f"{throw.evenly(MANNERS)} models of {throw.evenly(SUBJECTS)} {n:04}",
            abstract="What is known, what is not, and what would have to be computed to know it. " * 8,
            field_of_science="1.3",
            account=f"project{n:04}",
            state=throw.evenly(states),
            created_at=now - timedelta(days=throw.upto(900)),
        )
        for n in range(sizes.PROJECTS - len(there))
    ]
    return there + Project.objects.bulk_create(new, BATCH)


def _people(labs: list[Lab], now: datetime) -> tuple[dict[int, list[User]], dict[int, User]]:
    """Each lab has a PI; each institution with labs an admin; the others work in labs, the first labs being large."""
    throw, there = dice(3), User.objects.count()
    users = User.objects.bulk_create(
        [
            User(name=name, email=f"{name.lower().replace(' ', '.')}@example.org", password="!")
            for name in (
                f"{throw.evenly(GIVEN)} {throw.evenly(FAMILY)} {n:05}" for n in range(sizes.PEOPLE - there)
            )
        ],
        BATCH,
    )
    rows = []
    institutions = list({lab.institution_id for lab in labs})
    for n, user in enumerate(users):
        since = now - timedelta(days=throw.upto(900))
        if n < len(labs):
            rows.append(Membership(user=user, role=Role.PI, lab=labs[n], started_at=since))
        elif n < len(labs) + len(institutions):
            admin = Role.INSTITUTION_ADMIN
            rows.append(
                Membership(
                    user=user, role=admin, institution_id=institutions[n - len(labs)], started_at=since
                )
            )
        elif n % 500 == 0:
            rows.append(
                Membership(user=user, role=throw.evenly((Role.STAFF, Role.APPROVER)), started_at=since)
            )
        else:
            ended = now - timedelta(days=throw.upto(300)) if throw.happens(0.1) else None
            lab = throw.one(labs)
            rows.append(Membership(user=user, role=Role.MEMBER, lab=lab, started_at=since, ended_at=ended))
    Membership.objects.bulk_create(rows, BATCH)
    return _by_lab()


def _by_lab() -> tuple[dict[int, list[User]], dict[int, User]]:
    people_of: dict[int, list[User]] = {}
    leader_of: dict[int, User] = {}
    for one in Membership.objects.current().filter(lab__isnull=False).select_related("user").order_by("pk"):
        people_of.setdefault(one.lab_id or 0, []).append(one.user)
        if one.role == Role.PI:
            leader_of.setdefault(one.lab_id or 0, one.user)
    return people_of, leader_of


def _ways_in(labs: list[Lab], people_of: dict[int, list[User]], leader_of: dict[int, User]) -> None:
    """Applications, invitations and requests to join, most of them done with."""
    throw, now = dice(4), timezone.now()
    InstitutionApplication.objects.bulk_create(
        InstitutionApplication(
            name=f"Institute of Newcomers {n:03}",
            country="DE",
            mail_domain=f"new{n:03}.example",
            contact_name="Nora Newcomer",
            contact_email=f"nora@new{n:03}.example",
            purpose="To compute what can't be measured.",
            state=InstitutionApplication.State.WAITING
            if n % 10 == 0
            else InstitutionApplication.State.DECLINED,
            confirmed_at=now,
        )
        for n in range(300)
    )
    invited = [(n, throw.one(labs)) for n in range(3_000)]
    Invitation.objects.bulk_create(
        (
            Invitation(
                email=f"guest.{n}@example.org",
                role=Role.MEMBER,
                lab=lab,
                invited_by=leader_of[lab.pk],
                invited_at=now - timedelta(days=n % 400),
                expires_at=now + timedelta(days=7 - n % 400),
            )
            for n, lab in invited
        ),
        BATCH,
    )
    asking = [(lab, throw.evenly(people_of[throw.one(labs).pk]), n) for n, lab in enumerate(labs * 2)]
    JoinRequest.objects.bulk_create(
        (
            JoinRequest(
                user=user,
                lab=lab,
                state=JoinRequest.State.WAITING
                if n < len(labs) and n % 5 == 0
                else JoinRequest.State.DECLINED,
            )
            for lab, user, n in asking
        ),
        BATCH,
    )
