"""Asking at any address of the table in `tests.every_url`: how it is filled in, and a body that is good there."""

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

from portal.models import (
    User,
)
from tests.belongings import Belongings, last_month
from tests.every_url import NOBODY, Row
from tests.factories import (
    PASSWORD,
)
from tests.jobs.at_hand import filled_in
from tests.pages import log_in
from tests.pdfs import pdf

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = "application/offset+octet-stream"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
READING = ("SELECT", "SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT", "PRAGMA", "EXPLAIN")
NO_ID = 987_654_321


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
    hours = {f"hours_{partition.pk}": "100", f"why_{partition.pk}": "Ten runs of ten."}
    words = {"justification": "Because.", "people": "All of us.", "software": "PyTorch."}
    wish = {"cluster": cluster.pk, **hours, **words, **days, "version": "0", "send": "1"}
    paper = {"doi": "https://doi.org/10.1000/ABC", "title": "Squeezing", "year": 2026}
    proposal = {
        "title": "Slow light",
        "abstract": "Very slow.",
        "field_of_science": "1.3",
        "grant_number": "G 7",
    }
    sized = {**named, "gpus": 2, "time_limit_minutes": 90}
    institution = {"name": "Eastbrook", "country": "CN", "mail_domain": "eastbrook.example"}
    named_institution = {**institution, "slug": "eastbrook", "account": "eastbrook"}
    lab = {"name": "Cold Atoms", "slug": "atoms", "pi": "pi@eastbrook.example"}
    invited = {"email": "new@eastbrook.example", "role": "member"}
    contact = {"contact_name": "Nora", "contact_email": "nora@eastbrook.example", "purpose": "CT scans."}
    password = {"password1": "a wholly new horse", "password2": "a wholly new horse"}
    endorsement = things.endorsed.endorsement
    proposed = endorsement.pk if endorsement else None
    review = {"has_no_conflict": True, "score": 4, "comment": "Sound."}
    call = {"title": "Spring call", "text": "For all.", "cluster": cluster.pk, "gpu_hours": "5000"}
    moments = {"opens_at": f"{today}T00:00:00Z", "closes_at": f"{today + timedelta(days=9)}T00:00:00Z"}
    call_days = {"opens_on": str(today), "closes_on": str(today + timedelta(days=9))}
    named_call = {"title": "Spring call", "text": "For all.", "cluster": cluster.name, **moments}
    percents = {"carry_over_percent": "10", "checkpoint_percent": "50", "checkpoint_used_percent": "25"}
    tranche = {"available_from": str(today), "gpu_seconds": 3600}
    bodies: dict[str, dict[str, Any]] = {
        "/institutions/register/": {**named_institution, "admin": "nora@eastbrook.example"},
        "/institutions/apply/": {**institution, **contact},
        "/institutions/apply/<token>/": {},
        "/institutions/applications/<pk>/accept/": named_institution,
        "/institutions/applications/<pk>/decline/": {"comment": "No GPUs left."},
        "/institutions/<slug>/edit/": institution,
        "/institutions/<slug>/invite/": {**invited, "role": "institution_admin"},
        "/institutions/<slug>/labs/new/": lab,
        "/labs/<pk>/invite/": invited,
        "/labs/<pk>/invite/many/": {"people": "email,name\nnew@eastbrook.example,New", "role": "member"},
        "/labs/<pk>/join/": {"message": "Hello."},
        "/join-requests/<pk>/accept/": {},
        "/join-requests/<pk>/decline/": {},
        "/join-requests/<pk>/withdraw/": {},
        "/invitations/new/": {**invited, "role": "staff", "funder": ""},
        "/invitations/<pk>/again/": {"next": "/invitations/"},
        "/invitations/<pk>/revoke/": {"next": "/invitations/"},
        "/invitations/<token>/": {},
        "/terms/accept/": {"version": "1"},
        "/terms/publish/": {"text_en": "Be kind.", "text_zh_hans": "与人为善。"},
        "/api/v1/institutions/": {**named_institution, "admin": "nora@eastbrook.example"},
        "/api/v1/labs/": {**lab, "institution": things.project.lab.institution.slug},
        "/api/v1/invitations/": {**invited, "lab": things.project.lab_id},
        "/api/v1/invitations/many/": {
            "lab": things.project.lab_id, "role": "member", "dry_run": False,
            "people": [{"email": "new@eastbrook.example", "name": "New", "role": "pi"}],
        },
        "/api/v1/invitations/<pk>/again/": {},
        "/api/v1/invitations/<pk>/revoke/": {},
        "/api/v1/join-requests/": {"lab": things.newcomers.other_lab.pk, "message": "Hello."},
        "/api/v1/join-requests/<pk>/accept/": {},
        "/api/v1/join-requests/<pk>/decline/": {},
        "/api/v1/join-requests/<pk>/withdraw/": {},
        "/people/<pk>/switch-off/": {"reason": "She left."},
        "/people/<pk>/switch-on/": {},
        "/people/<pk>/second-factor/": {"reason": "Seen with her passport."},
        "/api/v1/institutions/<slug>/": {"name": "Northlake Technical University"},
        "/api/v1/terms/": {"kind": "use", "text_en": "Be kind.", "text_zh_hans": "友善。"},
        "/api/v1/terms/<pk>/accept/": {},
        "/api/v1/cluster-accounts/<pk>/approve/": {},
        "/api/v1/people/<pk>/switch-off/": {"reason": "She left."},
        "/api/v1/people/<pk>/switch-on/": {},
        "/api/v1/people/<pk>/reset-second-factor/": {"reason": "Seen with her passport."},
        "/memberships/<pk>/end/": {"reason": "She moved on."},
        "/memberships/<pk>/role/": {"role": "pi"},
        "/memberships/<pk>/move/": {"lab": things.other_lab.account, "role": "member"},
        "/labs/<pk>/close/": {"reason": "The group has dissolved."},
        "/projects/<slug>/close/": {"reason": "It is done."},
        "/jobs/accounts/<pk>/approve/": {},
        "/api/v1/memberships/<pk>/end/": {"reason": "She moved on.", "successor": None},
        "/api/v1/memberships/<pk>/role/": {"role": "pi"},
        "/api/v1/memberships/<pk>/move/": {"lab": things.other_lab.pk, "role": "member"},
        "/api/v1/labs/<pk>/close/": {"reason": "The group has dissolved."},
        "/api/v1/projects/<slug>/close/": {"reason": "It is done."},
        "/api/v1/projects/<slug>/reopen/": {"reason": "There is more to do."},
        "/projects/new/": {**proposal, "lab": things.project.lab.account, "funder": ""},
        "/projects/<slug>/request/": wish,
        "/projects/<slug>/request/autosave/": wish,
        "/requests/<pk>/autosave/": wish,
        "/requests/<pk>/copy/": {},
        "/requests/<pk>/consent/": {"answer": "agree", "reason": ""},
        "/requests/<pk>/publications/": paper,
        "/requests/<pk>/publications/<publication_pk>/remove/": {},
        "/requests/<pk>/attachments/": {},
        "/requests/<pk>/attachments/<file_pk>/remove/": {},
        "/allocations/<pk>/suspend/": {"reason": "Unpaid."},
        "/allocations/<pk>/resume/": {},
        "/allocations/<pk>/adjust/": {"direction": "add", "gpu_hours": "10", "reason": "A night lost to repairs."},
        "/allocations/<pk>/caps/": {f"cap_{things.job.owner_id}": "100"},
        "/allocations/<pk>/report/": {"text": "It works.", "doi": "10.1000/182", "title": "Light", "year": "2026"},
        "/api/v1/allocations/<pk>/suspend/": {"reason": "Unpaid."},
        "/api/v1/allocations/<pk>/resume/": {},
        "/api/v1/allocations/<pk>/caps/": {"caps": [{"person": things.job.owner_id, "gpu_seconds": 3600}]},
        "/api/v1/allocations/<pk>/report/": {"text": "It works."},
        "/requests/<pk>/edit/": wish,
        "/requests/<pk>/submit/": {},
        "/requests/<pk>/withdraw/": {},
        "/requests/<pk>/decide/": {
            "verdict": "approve", "gpu_hours": "10", "comment": "", "conditions": "Publish.", "endorsement": "", "end": "",
            "tranche_day_1": str(today), "tranche_hours_1": "10", "sent": "", "on_title": "Shorter.",
        },
        "/requests/<pk>/reviews/": {"reviewer": things.review.asked_by_id, "due": str(today)},
        "/reviews/<pk>/write/": {"has_no_conflict": "on", "score": "4", "review": "Sound."},
        "/reviews/<pk>/conflict/": {},
        "/reviews/<pk>/call-off/": {},
        "/clusters/<name>/prices/": {
            "partition": partition.name, "factor": "0.5", "valid_from": str(today + timedelta(days=3)),
        },
        "/clusters/differences/<pk>/": {"cause": "A run was taken off by hand."},
        "/refunds/": {"refund": [str(things.refund.pk)], "verdict": "approve", "reason": ""},
        "/corrections/<pk>/": {"verdict": "approve", "reason": ""},
        "/api/v1/refunds/<pk>/approve/": {"reason": "The node's power supply."},
        "/api/v1/refunds/<pk>/decline/": {"reason": "It had ended."},
        "/api/v1/corrections/<pk>/approve/": {"comment": "Seen."},
        "/api/v1/corrections/<pk>/decline/": {"comment": "Not so."},
        "/api/v1/policies/<name>/prices/": {
            "partition": partition.name, "factor": "0.5", "valid_from": f"{today + timedelta(days=3)}T00:00:00Z",
        },
        "/api/v1/allocations/<pk>/adjust/": {"gpu_seconds": -3600, "reason": "Counted twice."},
        "/calls/new/": {**call, **call_days},
        "/calls/<pk>/edit/": {**call, **call_days},
        "/calls/<pk>/close/": {},
        "/clusters/quarantine/<pk>/": {"note": "A wrapper's greeting."},
        "/clusters/<name>/months/close/": {"month": f"{last_month():%Y-%m}"},
        "/jobs/clusters/<name>/check/": {},
        "/jobs/clusters/<name>/maintenance/": {
            "begins_at": f"{today + timedelta(days=60)}T08:00", "until": f"{today + timedelta(days=60)}T18:00",
            "sentence": "New power supplies.",
        },
        "/jobs/clusters/<name>/maintenance/<pk>/end/": {},
        "/jobs/health/nodes/<pk>/trust/": {},
        "/jobs/unsent/<pk>/send-again/": {},
        "/jobs/unsent/<pk>/give-up/": {"reason": "Its files are too large."},
        "/api/v1/clusters/<name>/maintenance/": {
            "begins_at": f"{today + timedelta(days=90)}T08:00:00Z", "until": f"{today + timedelta(days=90)}T18:00:00Z",
            "sentence": "New power supplies.",
        },
        "/api/v1/maintenance/<pk>/end/": {},
        "/api/v1/login-nodes/<pk>/trust/": {},
        "/api/v1/unsent/<pk>/send-again/": {},
        "/api/v1/unsent/<pk>/give-up/": {"reason": "Its files are too large."},
        "/api/v1/clusters/<name>/months/close/": {"month": f"{last_month():%Y-%m}"},
        "/api/v1/clusters/<name>/check/": {},
        "/api/v1/quarantine/<pk>/look/": {"note": "A wrapper's greeting."},
        "/clusters/discrepancies/<pk>/explain/": {"explanation": "A job lost its end."},
        "/clusters/<name>/policy/": {
            "close_months_after_days": "10",
            "grant_at_once_up_to": "50", "two_approvers_above": "10000", "grace_days": "7", "report_before_renewal": "on",
            **percents,
        },
        "/jobs/new/": {**filled_in(things.project, partition, script), "once": ""},
        "/jobs/new/check/": {**shape, "name": "x", "uploads": [str(script.pk)], "script": str(script.pk)},
        "/jobs/<pk>/cancel/": {},
        "/api/v1/projects/": {**proposal, "lab": things.project.lab.account},
        "/api/v1/projects/<slug>/publications/": paper,
        "/api/v1/requests/": {
            "project": things.project.slug, "cluster": cluster.name, "kind": "new", "submit": True, **words, **days,
            "lines": [{"partition": partition.name, "gpu_seconds": 3600, "justification": "One run."}],
        },
        "/api/v1/requests/<pk>/": {
            "cluster": cluster.name, "lines": [{"partition": partition.name, "gpu_seconds": 60}], **words, **days,
        },
        "/api/v1/requests/<pk>/consent/": {"agree": True, "reason": ""},
        "/api/v1/requests/<pk>/submit/": {},
        "/api/v1/requests/<pk>/withdraw/": {},
        "/api/v1/requests/<pk>/approve/": {
            "gpu_seconds": 3600, "comment": "", "conditions": "", "tranches": [tranche], "end": None,
        },
        "/api/v1/requests/<pk>/return/": {"comment": "Say more.", "field_comments": {"title": "Shorter."}},
        "/api/v1/requests/<pk>/agree/": {"endorsement": proposed, "comment": ""},
        "/api/v1/requests/<pk>/object/": {"endorsement": proposed, "comment": "Too many."},
        "/api/v1/requests/<pk>/technical-reviews/": {"reviewer": "sam@example.org", "due": str(today)},
        "/api/v1/technical-reviews/<pk>/write/": review,
        "/api/v1/technical-reviews/<pk>/conflict/": {},
        "/api/v1/technical-reviews/<pk>/call-off/": {},
        "/api/v1/calls/": {**named_call, "gpu_seconds": 3600},
        "/api/v1/calls/<pk>/change/": {**named_call, "gpu_seconds": None},
        "/api/v1/calls/<pk>/close/": {},
        "/api/v1/discrepancies/<pk>/explain/": {"explanation": "A job lost its end."},
        "/api/v1/policies/<name>/set/": {"grant_at_once_up_to": 3600, "two_approvers_above": None, "grace_days": 3},
        "/api/v1/requests/<pk>/reject/": {"comment": "No."},
        "/api/v1/jobs/": {**sized, "name": "Fringe fit", "script": str(script.pk), "inputs": []},
        "/api/v1/jobs/<pk>/cancel/": {},
        "/api/v1/quote/": sized,
        "/accounts/login/": {"login": "mei@example.org", "password": "wrong"},
        "/accounts/logout/": {},
        "/accounts/signup/": {"name": "Zoe Baker", "email": "zoe@example.org", "password1": "a wholly new horse"},
        "/accounts/email/": {"email": "new@example.org", "action_add": ""},
        "/accounts/confirm-email/<key>/": {},
        "/accounts/password/change/": {"oldpassword": PASSWORD, **password},
        "/accounts/password/set/": password,
        "/accounts/password/reset/": {"email": "mei@example.org"},
        "/accounts/password/reset/key/<uidb36>-<key>/": password,
        "/accounts/reauthenticate/": {"password": PASSWORD},
        "/accounts/2fa/authenticate/": {"code": "123456"},
        "/accounts/2fa/reauthenticate/": {"code": "123456"},
        "/accounts/2fa/totp/activate/": {"code": "123456"},
        "/accounts/2fa/totp/deactivate/": {},
        "/accounts/2fa/recovery-codes/generate/": {},
        "/accounts/2fa/webauthn/add/": {"name": "Blue key", "credential": "{}"},
        "/accounts/2fa/webauthn/reauthenticate/": {"credential": "{}"},
        "/accounts/2fa/webauthn/keys/<pk>/edit/": {"name": "Blue key"},
        "/accounts/2fa/webauthn/keys/<pk>/remove/": {},
        "/accounts/sessions/end/": {"session": "all"},
        "/accounts/3rdparty/": {"account": "1"},
        "/accounts/3rdparty/signup/": {"name": "Zoe Baker", "email": "zoe@example.org"},
        "/accounts/oidc/<provider_id>/login/": {},
        "/i18n/setlang/": {"language": "en", "next": "/"},
    }  # fmt: skip
    takes_one = row.method in ("POST", "PATCH") or (row.is_api and row.method == "PUT")
    return bodies.get(row.address) if takes_one else None


def is_tus(row: Row) -> bool:
    return "/uploads/" in row.address


def takes_pdf(row: Row) -> bool:
    return (row.address, row.method) == ("/api/v1/requests/<pk>/attachments/", "POST")


# ── Asking ───────────────────────────────────────────────────────────────────


def browser_of(who: User | None) -> Client:
    client = Client(raise_request_exception=False)
    if who is not None:
        log_in(client, who)
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
    if takes_pdf(row):
        return client.generic("POST", f"{url}?name=a.pdf", pdf(title="new"), content_type="application/pdf")
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
