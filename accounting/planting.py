"""Make institutions, labs and projects of a scheduler's tree. What is there already, known by its account, stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.text import slugify

from accounting.trees import AccountLine, Placed
from portal.models import Institution, Lab, Project
from portal.models.audit import record

T = TypeVar("T", Institution, Lab, Project)
Said = tuple[int, str]  # line of the file, what happened


def plant(placed: Sequence[Placed]) -> Iterator[Said]:
    """One sentence for each thing that is made or can't be; nothing for what is there. Inside a transaction."""
    lines = {one.account.name: one.account for one in placed}
    for one in placed:
        try:
            yield from _plant(one, lines)
        except ValidationError as error:
            yield one.account.line, f"{one.account.name} can't be taken: {' '.join(error.messages)}"


def _plant(one: Placed, lines: dict[str, AccountLine]) -> Iterator[Said]:
    institution = Institution.objects.filter(account=one.institution).first()
    if institution is None:
        institution = _institution(lines[one.institution])
        yield one.account.line, f"new institution {institution.name}, account {institution.account}"
    if one.account.name == one.institution and not one.is_project:
        return
    lab = Lab.objects.filter(account=one.lab).first()
    if lab is None:
        slug = _slug(one.lab, Lab.objects.filter(institution=institution))
        lab = _saved(Lab(institution=institution, account=one.lab, name=_title(lines[one.lab]), slug=slug))
        yield one.account.line, f"new lab {lab.name}, account {lab.account}, in {institution.name}"
    if one.is_project and not Project.objects.filter(account=one.account.name).exists():
        project = Project(
            lab=lab, account=one.account.name, title=_title(one.account), state=Project.State.ACTIVE
        )
        project.slug = _slug(one.account.name, Project.objects.all())
        _saved(project)
        yield one.account.line, f"new project {project.title}, account {project.account}, in {lab.name}"


def _institution(line: AccountLine) -> Institution:
    name = _title(line)
    if Institution.objects.filter(name=name).exists():
        name = f"{name} ({line.name})"[:200]
    slug = _slug(line.name, Institution.objects.all())
    return _saved(Institution(name=name, slug=slug, account=line.name))


def _saved(thing: T) -> T:
    thing.full_clean()
    thing.save()
    record(f"{thing._meta.verbose_name_raw} registered", thing, by=None, source="the scheduler's tree")
    return thing


def _title(line: AccountLine) -> str:
    return (line.description or line.name)[:200]


def _slug(account: str, taken: models.QuerySet[T]) -> str:
    """Of the account's name; with a number if another has it."""
    stem = slugify(account.replace(".", "-"))[:50] or "account"
    number, slug = 1, stem
    while taken.filter(slug=slug).exists():
        number += 1
        slug = f"{stem}-{number}"
    return slug
