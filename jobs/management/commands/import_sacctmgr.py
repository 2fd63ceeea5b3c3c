"""`manage.py import_sacctmgr tree.cfg --cluster firefly`: a centre's own accounts and users, from `sacctmgr dump`.

accounting/trees.py says how accounts become institutions, labs and projects. Twice is once; nothing is taken away.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounting.models import Cluster
from accounting.planting import Said, plant
from accounting.trees import UserLine, place
from jobs.models import Association, ClusterAccount
from jobs.schedulers.dump import Dump, read_dump
from portal.models import Membership, Project, Role
from portal.models.audit import record
from portal.models.people import LAB_ROLES


class Command(BaseCommand):
    help = (
        "Make institutions, labs and projects of the file that `sacctmgr dump CLUSTER file=…` writes, and enter the rights "
        "of people whom the portal knows by their POSIX user. Twice is once; nothing is taken away."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--cluster", required=True, help="the portal's name of the cluster")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def handle(self, *, file: Path, cluster: str, dry_run: bool, **options: Any) -> None:
        dump = _read(file)
        known = Cluster.objects.filter(name=cluster).first()
        if known is None:
            raise CommandError(f"There is no cluster {cluster}. `manage.py register` makes one.")
        if dump.cluster and dump.cluster != cluster.lower():
            raise CommandError(f"{file} is of the cluster {dump.cluster}, not of {cluster}.")
        with transaction.atomic():
            said = sorted([*plant(place(dump.accounts, dump.users)), *_enter(dump, known)])
            transaction.set_rollback(dry_run)
        self._tell(said, dump, dry_run)

    def _tell(self, said: Iterable[Said], dump: Dump, dry_run: bool) -> None:
        bad = [(number, f"not read: {why}") for number, why in dump.bad]
        for number, sentence in sorted([*said, *bad]):
            self.stdout.write(f"line {number}: {sentence}.")
        self.stdout.write(
            f"{len(dump.accounts)} accounts and {len(dump.users)} rights read, {len(dump.bad)} lines not."
        )
        if dry_run:
            self.stdout.write("This was a dry run: nothing was changed.")


def _read(file: Path) -> Dump:
    try:
        return read_dump(file.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError as error:
        raise CommandError(f"Can't read {file}: {error.strerror}.") from None


def _enter(dump: Dump, cluster: Cluster) -> Iterator[Said]:
    """The rights of people whom the portal knows; whom it doesn't, it names."""
    accounts = {
        account.username: account
        for account in ClusterAccount.objects.filter(cluster=cluster).select_related("user")
    }
    projects = {
        project.account: project
        for project in Project.objects.filter(
            account__in={user.account for user in dump.users}
        ).select_related("lab")
    }
    for user in dump.users:
        account, project = accounts.get(user.name), projects.get(user.account)
        if project is None:
            yield user.line, f"{user.name} on {user.account} is not taken: no project has that account"
        elif account is None:
            yield (
                user.line,
                f"{user.name} on {user.account} is not taken: the portal knows nobody of that name",
            )
        else:
            yield from _right(user, account, project)


def _right(user: UserLine, account: ClusterAccount, project: Project) -> Iterator[Said]:
    """A right rests on a role in the lab: without one it would be taken away again. Who left stays away."""
    if Association.objects.filter(account=account, project=project).exists():
        return
    roles = Membership.objects.filter(user=account.user, lab=project.lab, role__in=LAB_ROLES)
    if not account.is_active or project.state != Project.State.ACTIVE or not account.user.is_active:
        yield user.line, f"{user.name} on {user.account} is not taken: it is switched off, or the project is"
        return
    if not roles.exists():
        membership = Membership.objects.create(user=account.user, lab=project.lab, role=Role.MEMBER)
        record("membership begun", membership, by=None, project=project, source="the scheduler's tree")
        yield user.line, f"{account.user.name} is a member of {project.lab.name}"
    elif not roles.current().exists():
        yield (
            user.line,
            f"{user.name} on {user.account} is not taken: {account.user.name} left {project.lab.name}",
        )
        return
    Association.objects.create(account=account, project=project, made_at=timezone.now())
    yield user.line, f"{user.name} runs on {user.account}"
