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

from accounting import lifetimes
from accounting.actions.calls import make_call
from accounting.actions.caps import set_caps
from accounting.actions.policies import set_policy
from accounting.actions.proposals import propose_project
from accounting.actions.publications import add_publication
from accounting.actions.requests import Line, request_hours
from accounting.actions.reviews import approve_request, return_request
from accounting.actions.technical_reviews import ask_for_review
from accounting.models import (
    Allocation,
    AllocationRequest,
    ChargeFactor,
    Cluster,
    FieldComment,
    Partition,
    Review,
)
from accounting.units import SECONDS_PER_HOUR
from jobs.models import ClusterAccount
from portal.actions.applications import apply, confirm
from portal.actions.invitations import invite
from portal.actions.joining import ask_to_join
from portal.actions.terms import accept as accept_terms
from portal.actions.terms import publish
from portal.models import Funder, Institution, Lab, Membership, Project, Role, Terms, User
from portal.registering import confirm_only_address

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
        "1.2", "Recognising handwriting in a million scanned pages of provincial archives.",
        "Ivo Brandt", ("Mei Lin", "Tom Okafor", "Sara Nilsson"), 60,
    ),
    Place(
        "Rivergate Institute of Technology", "CN", "rivergate", "Protein Dynamics Group", "Folding pathways of membrane proteins",
        "1.6", "Sampling how membrane proteins fold, with learned force fields.",
        "Vera Petrova", ("Otto Weiss", "Lan Zhou", "Pedro Alves"), 110,
    ),
    Place(
        "Hillview Academy of Sciences", "CN", "hillview", "Climate Modelling Group", "Kilometre-scale rain forecasts",
        "1.5", "Emulating convection at one kilometre over the monsoon region.",
        "Hana Sato", ("Jon Reyes", "Aisha Khan", "Wei Chen"), 35,
    ),
)  # fmt: skip
FUNDER = "National Science Fund"
TERMS = {
    Terms.Kind.USE: (
        "The cluster is for the research that its projects were granted hours for.\n\n"
        "Your account is yours alone. What you run is seen by your PI, your institution's admin and the centre.\n\n"
        "Data about people comes here only with the consent that your institution asks for.",
        "集群仅用于获批机时的项目所开展的研究。\n\n账号仅供您本人使用。您的作业对课题组负责人、所在机构的管理员和中心可见。\n\n"
        "涉及个人的数据，须取得您所在机构要求的同意后方可上传。",
    ),
    Terms.Kind.AGREEMENT: (
        "The institution names the people who look after its labs, and answers for what they do.\n\n"
        "The centre gives hours without a price, and may end them when they are misused.",
        "机构指定负责管理其课题组的人员，并对其行为负责。\n\n中心无偿提供机时；如有滥用，中心可终止提供。",
    ),
}


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
        yield LogIn(user.current_memberships[0].role_word, name, user.email, PASSWORD)


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
            user=user,
            cluster=retired,
            username=username(user.name),
            state=ClusterAccount.State.DISABLED,
            shut_out_at=timezone.now(),
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
        award(pi, staff, project, live, 5000, today - timedelta(days=7), _end(project, today))
    rules_and_call(staff, live)
    terms(staff)
    newcomers(projects[0].lab)
    ask_for_more(projects[1], live)
    propose(projects[2].lab, live, today)
    ask_too_little_said(projects[2], live, staff, today)
    wish(projects[2], live, 3000, today, "Thirty training runs at 100 GPU-hours, one for each year of radar.")
    answer(staff, projects[1], projects[2])
    bring_history(projects, begin, today)
    near_its_end(projects[-1], live)
    lifetimes.keep(today)  # the retired cluster's hours have expired


def _end(project: Project, today: date) -> date:
    """The last place's hours end soon."""
    return today + timedelta(days=20 if project.slug.startswith(PLACES[-1].slug) else 180)


def near_its_end(project: Project, cluster: Cluster) -> None:
    """An allocation with a condition, and a cap for one of its people."""
    allocation = Allocation.objects.get(project=project, cluster=cluster)
    Review.objects.filter(allocation=allocation).update(
        conditions="Publish the forecasts' code with the first paper."
    )
    members = Membership.objects.filter(lab=project.lab)
    pi, member = members.filter(role=Role.PI)[0].user, members.filter(role=Role.MEMBER)[0].user
    set_caps(by=pi, allocation=allocation, caps={member: 200 * SECONDS_PER_HOUR})


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
        name=place.institution,
        slug=place.slug,
        country=place.country,
        account=place.slug,
        mail_domain=f"{place.slug}.example",
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
    confirm_only_address(user)
    Membership.objects.create(user=user, role=role, **place)
    return user


def award(
    pi: User, staff: User, project: Project, cluster: Cluster, hours: int, start: date, end: date
) -> None:
    request = request_hours(
        by=pi,
        project=project,
        cluster=cluster,
        gpu_seconds=hours * SECONDS_PER_HOUR,
        start=start,
        end=end,
        justification=f"{project.abstract} About {hours:,} GPU-hours for training and evaluation.",
    )
    approve_request(by=staff, request=request, gpu_seconds=hours * SECONDS_PER_HOUR, comment="As asked.")


def rules_and_call(staff: User, cluster: Cluster) -> None:
    """Small requests are granted at once, large awards need two approvers; and a call is open."""
    set_policy(
        by=staff,
        cluster=cluster,
        grant_at_once_up_to=50 * SECONDS_PER_HOUR,
        two_approvers_above=10_000 * SECONDS_PER_HOUR,
        grace_days=14,
        carry_over_percent=20,
    )
    now = timezone.now()
    make_call(
        by=staff,
        title="Large training runs",
        text="For projects that need 64 GPUs at once. Requests are compared with each other after the deadline.",
        cluster=cluster,
        opens_at=now - timedelta(days=3),
        closes_at=now + timedelta(days=18),
        gpu_seconds=40_000 * SECONDS_PER_HOUR,
    )


def answer(staff: User, large: Project, small: Project) -> None:
    """A large request waits for the second approver; a colleague is asked whether the other one is sound."""
    approver = User.objects.get(memberships__role=Role.APPROVER)
    waiting = AllocationRequest.objects.filter(state=AllocationRequest.State.SUBMITTED)
    approve_request(
        by=staff,
        request=waiting.get(project=large),
        gpu_seconds=11_000 * SECONDS_PER_HOUR,
        conditions="A short report after the first half.",
    )
    due = timezone.now().date() + timedelta(days=7)
    ask_for_review(by=staff, request=waiting.get(project=small), reviewer=approver, due=due)


def wish(project: Project, cluster: Cluster, hours: int, today: date, justification: str) -> None:
    request_hours(
        by=User.objects.get(memberships__lab=project.lab, memberships__role=Role.PI),
        project=project,
        cluster=cluster,
        gpu_seconds=hours * SECONDS_PER_HOUR,
        start=today,
        end=today + timedelta(days=365),
        justification=justification,
    )


def ask_for_more(project: Project, live: Cluster) -> None:
    """A supplement that waits for the centre, with all that a good request says."""
    pi = pi_of(project.lab)
    add_publication(
        by=pi,
        project=project,
        doi="10.5555/demo.2026.17",
        title="Learned force fields for membranes",
        year=2026,
    )
    request_hours(
        by=pi,
        project=project,
        kind=AllocationRequest.Kind.SUPPLEMENT,
        allocation=Allocation.objects.get(project=project, cluster=live),
        lines=[
            line(live, "a100", 10_000, "Forty proteins, 250 GPU-hours each: 8 GPUs for about 31 hours."),
            line(
                live, "a100-preemptible", 4000, "Analysis of the trajectories; it can be stopped and resumed."
            ),
        ],
        justification="The force field converged. Now forty proteins are folded, three runs of each.",
        people="Vera Petrova (PI), Otto Weiss and Lan Zhou; two years on the retired Ember.",
        software="OpenMM 8 and PyTorch 2; one protein runs on 8 GPUs of one node.",
    )


def propose(lab: Lab, live: Cluster, today: date) -> None:
    """A proposed project whose first request is a draft."""
    pi = pi_of(lab)
    project = propose_project(
        by=pi,
        lab=lab,
        title="Glaciers from above",
        abstract="Finding the edges of glaciers in forty years of satellite pictures.",
        field_of_science="1.5",
        funder=Funder.objects.get(name=FUNDER),
        grant_number="NSF-2026-118",
    )
    request_hours(
        by=pi,
        project=project,
        cluster=live,
        lines=[line(live, "a100", 800, "A hundred training runs of 4 GPUs for two hours.")],
        start=today,
        justification="Eighty pictures are labelled; the others follow.",
        submit=False,
    )


def ask_too_little_said(project: Project, live: Cluster, staff: User, today: date) -> None:
    """A request that came back from the centre with comments beside its fields."""
    request = request_hours(
        by=pi_of(project.lab),
        project=project,
        cluster=live,
        lines=[line(live, "a100", 20_000)],
        start=today,
        end=today + timedelta(days=365),
        justification="We need more hours for the monsoon season.",
        software="Our own emulator.",
    )
    review = return_request(by=staff, request=request, comment="Good work so far. Two things are missing.")
    for field, text in (
        ("lines", "How many runs are these, of how many GPUs and hours each?"),
        ("justification", "What is new against the hours that you have until next year?"),
    ):
        FieldComment.objects.create(review=review, field=field, text=text)


def line(cluster: Cluster, partition: str, hours: int, why: str = "") -> Line:
    return Line(Partition.objects.get(cluster=cluster, name=partition), hours * SECONDS_PER_HOUR, why)


def pi_of(lab: Lab) -> User:
    return User.objects.get(memberships__lab=lab, memberships__role=Role.PI)


def terms(staff: User) -> None:
    """Version 1 of both texts; the people of the demo have accepted theirs."""
    for kind, (english, chinese) in TERMS.items():
        published = publish(by=staff, kind=kind, text_en=english, text_zh_hans=chinese)
        if kind == Terms.Kind.USE:
            for user in User.objects.all():
                accept_terms(by=user, terms=published)


def newcomers(lab: Lab) -> None:
    """An institution that applies, a person who is invited, and one who asks to join."""
    agreement = Terms.objects.in_force(Terms.Kind.AGREEMENT)
    application = apply(
        name="Eastbrook Medical University",
        country="CN",
        mail_domain="eastbrook.example",
        contact_name="Nora Lindqvist",
        contact_email="nora.lindqvist@eastbrook.example",
        purpose="Three groups segment CT scans; about 20,000 GPU-hours a year, mostly short training runs.",
        agreement=agreement,
    )
    if application is not None:
        confirm(application=application)
    pi = User.objects.get(memberships__lab=lab, memberships__role=Role.PI)
    invite(by=pi, email="kofi.mensah@northlake.example", role=Role.MEMBER, place=lab)
    asker = User.objects.create_user("rosa.delgado@northlake.example", PASSWORD, name="Rosa Delgado")
    confirm_only_address(asker)
    ask_to_join(by=asker, lab=lab, message="I start my thesis on archive images in the lab next week.")


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
