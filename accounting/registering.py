"""Make the database say what a centre's file says: what is new is made, what differs is changed, nothing is taken away.

Names under which the scheduler and the ledger know a thing (accounts, a price with its day) never change. Roles that
have ended stay ended: a file does not bring back whom a PI removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import models, transaction

from accounting import registry
from accounting.models import ChargeFactor, Cluster, Partition
from accounting.registry import Registry, RegistryErrors, below
from portal.mail_domains import check_domain
from portal.models import Funder, Institution, Lab, Membership, Project, Role, User
from portal.models.audit import record
from portal.models.people import LAB_ROLES
from portal.registering import newcomer

M = TypeVar("M", bound=models.Model)
Values = Mapping[str, Any]

PLACES = {**dict.fromkeys(LAB_ROLES, "lab"), Role.INSTITUTION_ADMIN: "institution", Role.FUNDER: "funder"}


@dataclass
class Outcome:
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    people: list[User] = field(default_factory=list)  # of the file, in its order


@transaction.atomic
def register(wanted: Registry) -> Outcome:
    """All of it or nothing. Raises RegistryErrors, with a sentence for each thing that can't be."""
    desk = _Desk()
    for cluster in wanted.clusters:
        desk.cluster(cluster)
    for funder in wanted.funders:
        desk.funder(funder)
    for institution in wanted.institutions:
        desk.institution(institution)
    for person in wanted.people:
        desk.person(person)
    if desk.sentences:
        raise RegistryErrors(desk.sentences)
    return desk.outcome


class _Desk:
    """Takes one entry after the other, and goes on after a mistake, to tell all of them."""

    def __init__(self) -> None:
        self.outcome = Outcome()
        self.sentences: list[str] = []

    # Clusters

    def cluster(self, wanted: registry.Cluster) -> None:
        where = f"clusters → {wanted.name}"
        told = {
            "title": wanted.title,
            "accepts_jobs": wanted.accepts_jobs,
            "accounts_need_approval": wanted.accounts_need_approval,
        }
        cluster = self.put(where, Cluster, key={"name": wanted.name}, told=told)
        for partition in wanted.partitions if cluster else ():
            self.partition(cluster, partition, below(where, f"partitions → {partition.name}"))

    def partition(self, cluster: Cluster | None, wanted: registry.Partition, where: str) -> None:
        told = {
            "gpu_type": wanted.gpu_type,
            "tier": wanted.tier,
            "node_count": wanted.node_count,
            "gpus_per_node": wanted.gpus_per_node,
            "cpus_per_gpu": wanted.cpus_per_gpu,
            "memory_per_gpu_mib": wanted.memory_per_gpu_mib,
            "max_time_minutes": wanted.max_time_minutes,
        }
        partition = self.put(where, Partition, key={"cluster": cluster, "name": wanted.name}, told=told)
        for price in wanted.factors if partition else ():
            key = {"partition": partition, "valid_from": datetime.combine(price.valid_from, time.min, UTC)}
            there = below(where, f"factor from {price.valid_from}")
            self.put(there, ChargeFactor, key=key, fixed={"factor": price.factor})

    # Who pays, and who works

    def funder(self, wanted: registry.Funder) -> None:
        self.put(f"funders → {wanted.slug}", Funder, key={"slug": wanted.slug}, told={"name": wanted.name})

    def institution(self, wanted: registry.Institution) -> None:
        where = f"institutions → {wanted.slug}"
        told = {"name": wanted.name, "country": wanted.country, "mail_domain": self.domain(where, wanted)}
        fixed = {"account": wanted.account}
        institution = self.put(where, Institution, key={"slug": wanted.slug}, told=told, fixed=fixed)
        for lab in wanted.labs if institution else ():
            self.lab(institution, lab, below(where, f"labs → {lab.slug}"))

    def domain(self, where: str, wanted: registry.Institution) -> str | None:
        try:
            return check_domain(wanted.mail_domain) if wanted.mail_domain else wanted.mail_domain
        except ValidationError as error:
            self.say(below(where, "mail_domain"), error.messages[0].rstrip("."))
            return None

    def lab(self, institution: Institution | None, wanted: registry.Lab, where: str) -> None:
        key = {"institution": institution, "slug": wanted.slug}
        lab = self.put(where, Lab, key=key, told={"name": wanted.name}, fixed={"account": wanted.account})
        for project in wanted.projects if lab else ():
            self.project(lab, project, below(where, f"projects → {project.slug}"))

    def project(self, lab: Lab | None, wanted: registry.Project, where: str) -> None:
        """The centre registers it, so it is active from the start."""
        told = {
            "title": wanted.title,
            "field_of_science": wanted.field_of_science,
            "abstract": wanted.abstract,
            "funder": self.find(where, Funder, wanted.funder, "slug"),
        }
        fixed = {"lab": lab, "account": wanted.account}
        start = {"state": Project.State.ACTIVE}
        self.put(where, Project, key={"slug": wanted.slug}, told=told, fixed=fixed, start=start)

    # People

    def person(self, wanted: registry.Person) -> None:
        where = f"people → {wanted.email}"
        user = self.user(where, wanted)
        if user is None:
            return
        self.outcome.people.append(user)
        for held in wanted.roles:
            self.role(user, held, below(where, f"roles → {held.role}"))

    def user(self, where: str, wanted: registry.Person) -> User | None:
        key, told = {"email": wanted.email.lower()}, {"name": wanted.name}
        if User.objects.filter(**key).exists():
            return self.put(where, User, key=key, told=told)
        try:
            user = newcomer(wanted.email, wanted.name)
        except ValidationError as error:
            self.refuse(where, error)
            return None
        self.keep(user)
        return user

    def role(self, user: User, held: registry.RoleHeld, where: str) -> None:
        if held.role not in Role:
            self.say(where, f"there is no such role; there are {', '.join(Role.values)}")
            return
        role = Role(held.role)
        given = {place for place in ("lab", "institution", "funder") if getattr(held, place) is not None}
        if given != {PLACES[role]} if role in PLACES else given:
            self.say(where, _place_of(role))
            return
        places = {
            "lab": self.find(where, Lab, held.lab, "institution__slug", "slug"),
            "institution": self.find(where, Institution, held.institution, "slug"),
            "funder": self.find(where, Funder, held.funder, "slug"),
        }
        if all(places[place] for place in given):
            self.membership(Membership(user=user, role=role, **places))

    def membership(self, wanted: Membership) -> None:
        """Unless the person has it, or had it and it ended."""
        same = {name: getattr(wanted, name) for name in ("user", "role", "lab", "institution", "funder")}
        if Membership.objects.filter(**same).exists():
            self.outcome.unchanged += 1
        else:
            self.keep(wanted)

    # One row

    def put(
        self,
        where: str,
        model: type[M],
        *,
        key: Values,
        told: Values | None = None,
        fixed: Values | None = None,
        start: Values | None = None,
    ) -> M | None:
        """The row of that `key`, saying what was `told`. `fixed` can't change once it is there; `start` is for a new one.

        What is told as None stays as it is. None if there is such a mistake that the row can't be.
        """
        said = {name: value for name, value in (told or {}).items() if value is not None}
        thing = model._default_manager.filter(**key).first()
        if thing is None:
            return self.save(where, model(**key, **said, **(fixed or {}), **(start or {})))
        for name, value in (fixed or {}).items():
            if getattr(thing, name) != value:
                self.say(where, f"its {name} is {getattr(thing, name)} and can't become {value}")
        changes = {name: value for name, value in said.items() if getattr(thing, name) != value}
        if not changes:
            self.outcome.unchanged += 1
            return thing
        for name, value in changes.items():
            setattr(thing, name, value)
        return self.save(where, thing)

    def save(self, where: str, thing: M) -> M | None:
        try:
            thing.full_clean()
        except ValidationError as error:
            self.refuse(where, error)
            return None
        self.keep(thing)
        return thing

    def keep(self, thing: models.Model) -> None:
        new = thing.pk is None
        thing.save()
        record(f"{thing._meta.verbose_name_raw} {'registered' if new else 'registered anew'}", thing, by=None)
        self.outcome.new += new
        self.outcome.changed += not new

    def find(self, where: str, model: type[M], name: str | None, *fields: str) -> M | None:
        """The row that the file calls by `name`: its slugs, joined by slashes."""
        if name is None:
            return None
        slugs = name.split("/")
        found = model._default_manager.filter(**dict(zip(fields, slugs, strict=False))).first()
        if found is None or len(slugs) != len(fields):
            self.say(where, f"there is no {model._meta.verbose_name_raw} “{name}”")
            return None
        return found

    def refuse(self, where: str, error: ValidationError) -> None:
        for name, messages in error.message_dict.items():
            self.say(where if name == "__all__" else below(where, name), " ".join(messages).rstrip("."))

    def say(self, where: str, what: str) -> None:
        self.sentences.append(f"{where}: {what}.")


def _place_of(role: Role) -> str:
    if role not in PLACES:
        return "this role holds in the whole centre: name no lab, institution or funder"
    place = PLACES[role]
    slugs = "INSTITUTION/LAB" if place == "lab" else place.upper()
    return f'this role is held in one {place}: write {{ role = "{role.value}", {place} = "{slugs}" }}'
