"""Asking at any address of the table in `tests.every_url`: the things that stand in it, and a body that is good there."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from django.utils.http import urlsafe_base64_encode

from accounting.models import Allocation, AllocationRequest, Partition
from jobs.models import Job, JobFile, Upload
from portal.models import Project, User
from tests.every_url import NOBODY, Row
from tests.factories import PASSWORD, AllocationRequestFactory, JobFactory
from tests.jobs.at_hand import brought, filled_in, result, uploaded

PNG = b"\x89PNG\r\n\x1a\nnot much of a picture"
TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = "application/offset+octet-stream"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
READING = ("SELECT", "SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT", "PRAGMA", "EXPLAIN")
NO_ID = 987_654_321


@dataclass(frozen=True)
class Belongings:
    """What a lab has in the portal: one of each kind that can stand in an address."""

    project: Project
    allocation: Allocation
    waiting: AllocationRequest  # for the centre
    returned: AllocationRequest  # to the lab
    job: Job
    result: JobFile
    fetch: Any
    upload: Upload  # begun
    files: Mapping[str, Upload] = field(default_factory=dict)  # a complete upload of each person

    def values(self, address: str) -> dict[str, Any]:
        """What stands in an address, by parameter: `/jobs/<pk>/` → {"pk": 7}."""
        by_part: dict[str, dict[str, Any]] = {
            "/projects/": {"slug": self.project.slug},
            "/allocations/": {"pk": self.allocation.pk},
            "/requests/": {"pk": self.waiting.pk},
            "/requests/<pk>/edit/": {"pk": self.returned.pk},
            "/requests/<pk>/submit/": {"pk": self.returned.pk},
            "/jobs/<pk>/": {"pk": self.job.pk, "file_pk": self.result.pk, "file_id": self.result.pk, "stream": "stdout"},
            "/jobs/uploads/": {"pk": self.upload.pk},
            "/jobs/fetches/": {"pk": self.fetch.pk},
            "/uploads/": {"pk": self.upload.pk},
            "/clusters/": {"name": self.allocation.cluster.name},
            "/accounts/reset/": {"uidb64": urlsafe_base64_encode(b"1"), "token": "set-password"},
        }  # fmt: skip
        short = address.removeprefix("/api/v1")
        return by_part[max((part for part in by_part if short.startswith(part)), key=len)]


@dataclass(frozen=True)
class World:
    people: dict[str, User]
    optics: Belongings  # mei's lab's
    folding: Belongings  # otto's lab's


def belongings(owner: User, leader: User, allocation: Allocation, partition: Partition) -> Belongings:
    """A lab's things: `owner`'s running job and what it left, an upload, and what `leader` asked for."""
    project = allocation.project
    job = JobFactory.create(
        owner=owner,
        allocation=allocation,
        partition=partition,
        name=f"{project.title} job",
        state=Job.State.RUNNING,
        scheduler_id=str(4000 + allocation.pk),
    )
    file = result(job, "fringes.png", PNG)
    asked = {"project": project, "cluster": allocation.cluster, "created_by": leader}
    return Belongings(
        project=project,
        allocation=allocation,
        waiting=AllocationRequestFactory.create(**asked),
        returned=AllocationRequestFactory.create(**asked, state=AllocationRequest.State.RETURNED),
        job=job,
        result=file,
        fetch=brought(file, PNG),
        upload=Upload.objects.create(owner=owner, path="begun.csv", size=3),
        files={person.name: uploaded(person, f"{person.pk}.sh") for person in (owner, leader)},
    )


def touch_upload(upload: Upload) -> None:
    """Make the begun upload's file, empty."""
    upload.stored_at.parent.mkdir(parents=True, exist_ok=True)
    upload.stored_at.write_bytes(b"")


# ── Addresses ────────────────────────────────────────────────────────────────


def filled(address: str, values: Mapping[str, Any]) -> str:
    """`/jobs/<pk>/` with 7 → `/jobs/7/`."""
    for name in parameters_of(address):
        address = address.replace(f"<{name}>", quote(str(values[name]), safe=""))
    return address


def parameters_of(address: str) -> list[str]:
    return [part.partition(">")[0] for part in address.split("<")[1:]]


def nonexistent(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The same, but `name` names nothing."""
    value = values[name]
    other = NO_ID if isinstance(value, int) else "nowhere" if name in ("slug", "name") else uuid4()
    return {**values, name: other}


# ── Bodies ───────────────────────────────────────────────────────────────────


def good_body(row: Row, things: Belongings, who: User | None) -> dict[str, Any] | None:
    """A body that is accepted from whoever may do this. None: the row takes none."""
    script = things.files.get(who.name if who else "", next(iter(things.files.values())))
    today = timezone.now().date()
    cluster, partition = things.allocation.cluster, things.job.partition
    shape = {
        "project": things.project.pk,
        "partition": partition.pk,
        "gpus": "2",
        "hours": "1",
        "minutes": "30",
    }
    named = {"project": things.project.slug, "cluster": cluster.name, "partition": partition.name}
    days = {"start": str(today), "end": str(today + timedelta(days=90))}
    wish = {"cluster": cluster.pk, "gpu_hours": "100", "justification": "Because.", "send": "1", **days}
    sized = {**named, "gpus": 2, "time_limit_minutes": 90}
    password = {"new_password1": "a wholly new horse", "new_password2": "a wholly new horse"}
    bodies: dict[str, dict[str, Any]] = {
        "/projects/<slug>/request/": wish,
        "/requests/<pk>/edit/": wish,
        "/requests/<pk>/submit/": {},
        "/requests/<pk>/withdraw/": {},
        "/requests/<pk>/decide/": {"verdict": "approve", "gpu_hours": "10", "comment": ""},
        "/jobs/new/": {**filled_in(things.project, partition, script), "once": ""},
        "/jobs/new/check/": {**shape, "name": "x", "uploads": [str(script.pk)], "script": str(script.pk)},
        "/jobs/<pk>/cancel/": {},
        "/api/v1/requests/": {
            "project": things.project.slug, "cluster": cluster.name, "gpu_seconds": 3600, "justification": "Because.",
            "submit": True, **days,
        },
        "/api/v1/requests/<pk>/submit/": {},
        "/api/v1/requests/<pk>/withdraw/": {},
        "/api/v1/requests/<pk>/approve/": {"gpu_seconds": 3600, "comment": ""},
        "/api/v1/requests/<pk>/return/": {"comment": "Say more."},
        "/api/v1/requests/<pk>/reject/": {"comment": "No."},
        "/api/v1/jobs/": {**sized, "name": "Fringe fit", "script": str(script.pk), "inputs": []},
        "/api/v1/jobs/<pk>/cancel/": {},
        "/api/v1/quote/": sized,
        "/accounts/login/": {"username": "mei@example.org", "password": "wrong"},
        "/accounts/logout/": {},
        "/accounts/password_change/": {"old_password": PASSWORD, **password},
        "/accounts/password_reset/": {"email": "mei@example.org"},
        "/accounts/reset/<uidb64>/<token>/": password,
        "/i18n/setlang/": {"language": "en", "next": "/"},
    }  # fmt: skip
    return bodies.get(row.address) if row.method == "POST" else None


def is_tus(row: Row) -> bool:
    return "/uploads/" in row.address


# ── Asking ───────────────────────────────────────────────────────────────────


def browser_of(who: User | None) -> Client:
    client = Client(raise_request_exception=False)
    if who is not None:
        client.force_login(who)
    return client


def ask(
    client: Client, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Any:
    """A form at the pages, JSON at the API; text and bytes go as they are."""
    kind = JSON if url.startswith("/api/") else FORM
    data = body if isinstance(body, str | bytes) else encoded(body, kind)
    return client.generic(method, url, data, content_type=kind, headers=dict(headers or {}))


def encoded(body: Any, kind: str) -> str:
    if body is None:
        return ""
    return json.dumps(body) if kind == JSON else urlencode(body, doseq=True)


def ask_as_told(client: Client, row: Row, url: str, things: Belongings, who: User | None) -> Any:
    """What the row means, well said."""
    if not is_tus(row):
        return ask(client, row.method, url, good_body(row, things, who))
    name = base64.b64encode(b"data.csv").decode()
    headers = {
        "POST": {"Upload-Length": "3", "Upload-Metadata": f"filename {name}"},
        "PATCH": {"Upload-Offset": "0"},
    }
    content = b"1,2" if row.method == "PATCH" else b""
    return client.generic(
        row.method, url, content, content_type=OCTETS, headers={**TUS, **headers.get(row.method, {})}
    )


@contextmanager
def undone() -> Iterator[None]:
    """Whatever happens to the database in here has not happened afterwards."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@dataclass
class Watch:
    """Looks at every statement: notes those that write, and refuses what PostgreSQL refuses and SQLite takes."""

    writes: list[str] = field(default_factory=list)

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        for value in params or () if not many else ():
            if isinstance(value, str) and "\0" in value:
                raise ValueError("PostgreSQL text fields cannot contain NUL")
            if type(value) is int and not -(2**63) <= value < 2**63:
                raise ValueError("bigint out of range")
        if not sql.lstrip().upper().startswith(READING):
            self.writes.append(sql)
        return execute(sql, params, many, context)


@contextmanager
def watching() -> Iterator[Watch]:
    watch = Watch()
    with connection.execute_wrapper(watch):
        yield watch


def person_named(name: str, people: Mapping[str, User]) -> User | None:
    return None if name == NOBODY else people[name]
