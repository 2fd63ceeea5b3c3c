"""People for every role, projects with hours, and a retired cluster's history: what the demo shows.

Made through the same actions that people use, and the same import that a centre uses for its history. Running it
again changes nothing.
"""

from __future__ import annotations

import json
import random
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from accounting import actions
from accounting.models import AllocationRequest, ChargeFactor, Cluster, Partition
from accounting.units import SECONDS_PER_HOUR
from jobs.models import ClusterAccount
from portal.models import Funder, Institution, Lab, Membership, Project, Role, User

PASSWORD = "light-the-night"  # noqa: S105
LIVE, RETIRED = "firefly", "ember"
MONTHS = 9


@dataclass(frozen=True)
class Place:
    """An institution with its lab, project and people."""

    institution: str
    country: str
    slug: str
    lab: str
    project: str
    field: str
    abstract: str
    pi: str
    members: tuple[str, ...]
    pace: int  # GPU-hours a day, about


@dataclass(frozen=True)
class LogIn:
    role: str
    name: str
    email: str
    password: str


PLACES = (
    Place(
        "Northlake University", "CN", "northlake", "Machine Perception Lab", "Reading handwritten archives",
        "Computer science", "Recognising handwriting in a million scanned pages of provincial archives.",
        "Ivo Brandt", ("Mei Lin", "Tom Okafor", "Sara Nilsson"), 60,
    ),
    Place(
        "Rivergate Institute of Technology", "CN", "rivergate", "Protein Dynamics Group", "Folding pathways of membrane proteins",
        "Biophysics", "Sampling how membrane proteins fold, with learned force fields.",
        "Vera Petrova", ("Otto Weiss", "Lan Zhou", "Pedro Alves"), 110,
    ),
    Place(
        "Hillview Academy of Sciences", "CN", "hillview", "Climate Modelling Group", "Kilometre-scale rain forecasts",
        "Earth sciences", "Emulating convection at one kilometre over the monsoon region.",
        "Hana Sato", ("Jon Reyes", "Aisha Khan", "Wei Chen"), 35,
    ),
)  # fmt: skip
FUNDER = "National Science Fund"


class Command(BaseCommand):
    help = "Fill an empty database with the demo's people, projects, hours and history."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the log-ins as JSON")

    def handle(self, **options: Any) -> None:
        if not User.objects.exists():
            seed(timezone.now().date())
        log_ins = [asdict(log_in) for log_in in show_log_ins()]
        if options["json"]:
            self.stdout.write(json.dumps(log_ins))
            return
        for log_in in log_ins:
            self.stdout.write("{role:18} {name:16} {email:28} {password}".format(**log_in))


def show_log_ins() -> Iterator[LogIn]:
    """One person of each role, all at Northlake where the role has a place."""
    shown = ["Mei Lin", "Ivo Brandt", "Ada Moreau", "Sam Fischer", "Ann Keller", "Fay Winter"]
    for name in shown:
        user = User.objects.get(name=name)
        yield LogIn(user.current_memberships[0].get_role_display(), name, user.email, PASSWORD)


@transaction.atomic
def seed(today: date) -> None:
    funder = Funder.objects.create(name=FUNDER, slug="nsf")
    staff = person("Sam Fischer", "centre.example", Role.STAFF)
    person("Ann Keller", "centre.example", Role.APPROVER)
    person("Fay Winter", "nsf.example", Role.FUNDER, funder=funder)
    live, retired = clusters(today)
    projects = [settle(place, funder) for place in PLACES]
    person("Ada Moreau", "northlake.example", Role.INSTITUTION_ADMIN, institution=projects[0].lab.institution)
    begin = _months_ago(today, MONTHS)
    for user in User.objects.filter(memberships__lab__isnull=False):
        ClusterAccount.objects.create(
            user=user, cluster=retired, username=username(user.name), state=ClusterAccount.State.DISABLED
        )
    for place, project in zip(PLACES, projects, strict=True):
        pi = User.objects.get(name=place.pi)
        days = (today - begin).days
        award(
            pi,
            staff,
            project,
            retired,
            place.pace * days * 5 // 4 // 100 * 100,
            begin,
            today - timedelta(days=1),
        )
        award(pi, staff, project, live, 5000, today - timedelta(days=7), today + timedelta(days=180))
    wish(projects[1], live, 12_000, today)
    bring_history(projects, begin, today)


def clusters(today: date) -> tuple[Cluster, Cluster]:
    live = Cluster.objects.create(name=LIVE, title="Firefly", accepts_jobs=True)
    retired = Cluster.objects.create(name=RETIRED, title="Ember (retired)")
    for cluster, name, tier, factor in (
        (live, "a100", Partition.Tier.STANDARD, "1"),
        (live, "a100-preemptible", Partition.Tier.PREEMPTIBLE, "0.5"),
        (retired, "v100", Partition.Tier.STANDARD, "1"),
    ):
        partition = Partition.objects.create(
            cluster=cluster,
            name=name,
            gpu_type=name.partition("-")[0],
            tier=tier,
            node_count=4,
            gpus_per_node=8,
            cpus_per_gpu=12,
            memory_per_gpu_mib=100_000,
            max_time_minutes=7 * 24 * 60,
        )
        since = timezone.make_aware(datetime.combine(_months_ago(today, 24), time.min))
        ChargeFactor.objects.create(partition=partition, factor=Decimal(factor), valid_from=since)
    return live, retired


def settle(place: Place, funder: Funder) -> Project:
    institution = Institution.objects.create(
        name=place.institution, slug=place.slug, country=place.country, account=place.slug
    )
    lab = Lab.objects.create(institution=institution, name=place.lab, slug="lab", account=f"{place.slug}-lab")
    domain = f"{place.slug}.example"
    person(place.pi, domain, Role.PI, lab=lab)
    for name in place.members:
        person(name, domain, Role.MEMBER, lab=lab)
    return Project.objects.create(
        lab=lab,
        funder=funder,
        slug=f"{place.slug}-1",
        title=place.project,
        abstract=place.abstract,
        field_of_science=place.field,
        account=f"{place.slug}-1",
        state=Project.State.ACTIVE,
    )


def person(name: str, domain: str, role: Role, **place: Institution | Lab | Funder) -> User:
    user = User.objects.create_user(f"{name.lower().replace(' ', '.')}@{domain}", PASSWORD, name=name)
    Membership.objects.create(user=user, role=role, **place)
    return user


def award(
    pi: User, staff: User, project: Project, cluster: Cluster, hours: int, start: date, end: date
) -> None:
    request = actions.request_hours(
        by=pi,
        project=project,
        cluster=cluster,
        gpu_seconds=hours * SECONDS_PER_HOUR,
        start=start,
        end=end,
        justification=f"{project.abstract} About {hours:,} GPU-hours for training and evaluation.",
    )
    actions.approve_request(
        by=staff, request=request, gpu_seconds=hours * SECONDS_PER_HOUR, comment="As asked."
    )


def wish(project: Project, cluster: Cluster, hours: int, today: date) -> None:
    actions.request_hours(
        by=User.objects.get(memberships__lab=project.lab, memberships__role=Role.PI),
        project=project,
        cluster=cluster,
        gpu_seconds=hours * SECONDS_PER_HOUR,
        start=today,
        end=today + timedelta(days=365),
        kind=AllocationRequest.Kind.SUPPLEMENT,
        justification="The force field converged; production runs of forty proteins at 300 GPU-hours each.",
    )


def bring_history(projects: list[Project], begin: date, today: date) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ember.txt"
        file.write_text("\n".join(history(projects, begin, today)) + "\n")
        call_command("import_sacct", str(file), cluster=RETIRED, stdout=StringIO(), stderr=StringIO())


def history(projects: list[Project], begin: date, today: date) -> Iterator[str]:
    """Lines of sacct: a job a day and project, or none. The same for the same days: the demo looks alike each time."""
    yield "Cluster|DBIndex|JobIDRaw|JobID|Account|User|Partition|Submit|Start|End|State|AllocTRES"
    dice = random.Random(1)  # noqa: S311
    number = 1000
    for day in (begin + timedelta(days=n) for n in range((today - begin).days)):
        for place, project in zip(PLACES, projects, strict=True):
            if dice.random() < 0.15 + 0.2 * (day.weekday() > 4):
                continue
            number += 1
            gpus = dice.choice((2, 4, 8, 8))
            hours = min(place.pace * dice.uniform(0.4, 1.9) / gpus, 23.0)
            start = datetime.combine(day, time(0, dice.randrange(60), dice.randrange(60)))
            end = start + timedelta(seconds=int(hours * SECONDS_PER_HOUR))
            state = dice.choices(("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED by 1001"), (85, 8, 4, 3))[0]
            user = username(dice.choice((place.pi, *place.members)))
            when = f"{start.isoformat()}|{start.isoformat()}|{end.isoformat()}"
            yield f"{RETIRED}|{number}|{number}|{number}|{project.account}|{user}|v100|{when}|{state}|gres/gpu={gpus}"


def username(name: str) -> str:
    return name.partition(" ")[0].lower()


def _months_ago(day: date, months: int) -> date:
    years, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(years, month + 1, 1)
