"""Which pages are there, for whom, and how long does one take?"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from portal.models import User
from tests.asking import filled, parameters_of
from tests.belongings import World
from tests.bench.measuring.counting import HEADER
from tests.e2e.site import answers, free_port
from tests.every_url import PARAMETERS, ROWS
from tests.pages import browser
from tests.running import await_ready, python_module, running

ROLES = {
    "member": "mei",
    "PI": "ivo",
    "institution admin": "ada",
    "staff": "sam",
    "approver": "ann",
    "funder": "fay",
}
# The first is made from the code alone; the others give everything at once, and take as long as that is.
NOT_MEASURED = {"/api/v1/schema/", "/reports/gpu-hours.csv", "/audit/rows.csv", "/api/v1/usage/"}
# Whoever is logged in as somebody else is logged out by the link in a newcomer's mail.
LOGS_OTHERS_OUT = {"/accounts/confirm-email/<key>/"}
# What a list is asked beside its first page.
ALSO: Mapping[str, str] = {"q": "lin", "page": "1000000"}


@dataclass(frozen=True)
class Visit:
    """One page, as one role asks for it."""

    role: str
    address: str  # as the table of addresses has it
    path: str
    cookie: str


def visits(world: World) -> list[Visit]:
    """Every GET of the table of addresses, for each role that gets it; of lists, a search and the last page too."""
    cookies = {role: _session(world.people[name]) for role, name in ROLES.items()}
    return [
        Visit(
            role,
            f"{row.address}{query}",
            f"{path}{query}",
            _session(world.people[name]) if row.address in LOGS_OTHERS_OUT else cookies[role],
        )
        for role, name in ROLES.items()
        for row in ROWS
        if row.method == "GET" and row.answers[name] == 200 and row.address not in NOT_MEASURED
        for path in [_path(row.address, world)]
        for query in ("", *_queries(row.address))
    ]


def _path(address: str, world: World) -> str:
    return filled(address, world.optics.values(address) if parameters_of(address) else {})


def _queries(address: str) -> Iterator[str]:
    for name in PARAMETERS.get(address, ()):
        # The API says that there is no such page.
        if name in ALSO and not (name == "page" and address.startswith("/api/")):
            yield "?" + urlencode({name: ALSO[name]})


def _session(user: User) -> str:
    return f"sessionid={browser(user).cookies['sessionid'].value}"


@dataclass(frozen=True)
class Server:
    host: str

    def seconds(self, visit: Visit) -> float:
        """From the question to the answer's last byte, on a connection of its own."""
        began = time.perf_counter()
        self._ask(visit, {})
        return time.perf_counter() - began

    def queries(self, visit: Visit) -> int:
        return int(self._ask(visit, {HEADER: "1"}).headers[HEADER])

    def _ask(self, visit: Visit, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request("GET", visit.path, headers={"Cookie": visit.cookie, **headers})
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        assert answer.status == 200, f"{visit.path} as {visit.role}: {answer.status}"
        return answer


@contextmanager
def served(name: str, env: Mapping[str, str], logs: Path) -> Iterator[Server]:
    """The portal by gunicorn with two workers, as `docker/compose.yaml` and the demo run it."""
    host, log = f"127.0.0.1:{free_port()}", logs / f"{name}.log"
    gunicorn = ("gunicorn", "tests.bench.measuring.counting:application", "--workers", "2", "--threads", "8")
    command = python_module(*gunicorn, "--bind", host, "--no-control-socket")
    with ExitStack() as started:
        process = started.enter_context(running(command, env, log))
        await_ready(process, log, answers(f"http://{host}"))
        yield Server(host)
