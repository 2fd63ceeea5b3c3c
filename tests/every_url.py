"""Who gets which answer: every address of the portal, by method and person. Held by `test_every_url`.

The things in the addresses are those of mei's lab: her job, its result, her upload, the project's allocation and
its requests; a link of a password reset is a wrong one. otto and vera belong to another institution: to them these things don't exist. `nobody` is logged out.

A GET stands for HEAD too. A method without a row is refused: 405, or the log-in for who is logged out.
302 for `nobody` is the way to the log-in, on open pages and for the others it is the way on after a deed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NOBODY = "nobody"

TABLE = """
address                                  method   nobody mei ivo ada sam ann fay otto vera
/                                        GET      302    200 200 200 200 200 200 200  200
/people/                                 GET      302    200 200 200 200 200 403 200  200
/projects/                               GET      302    200 200 200 200 200 200 200  200
/projects/<slug>/                        GET      302    200 200 200 200 200 404 404  404
/projects/<slug>/request/                GET      302    403 200 200 200 403 404 404  404
/projects/<slug>/request/                POST     302    403 302 302 302 403 404 404  404
/allocations/<pk>/statement/             GET      302    200 200 200 200 200 404 404  404
/requests/                               GET      302    200 200 200 200 200 200 200  200
/requests/queue/                         GET      302    403 403 403 200 200 403 403  403
/requests/<pk>/                          GET      302    404 200 200 200 200 404 404  404
/requests/<pk>/edit/                     GET      302    404 200 200 200 403 404 404  404
/requests/<pk>/edit/                     POST     302    404 302 302 302 403 404 404  404
/requests/<pk>/submit/                   POST     302    404 302 302 302 403 404 404  404
/requests/<pk>/withdraw/                 POST     302    404 302 302 302 403 404 404  404
/requests/<pk>/decide/                   GET      302    404 302 302 302 302 404 404  404
/requests/<pk>/decide/                   POST     302    404 403 403 302 302 404 404  404
/reports/                                GET      302    403 403 403 200 200 200 403  403
/reports/gpu-hours.csv                   GET      302    403 403 403 200 200 200 403  403
/jobs/                                   GET      302    200 200 200 200 200 200 200  200
/jobs/new/                               GET      302    200 200 403 403 403 403 200  200
/jobs/new/                               POST     302    302 302 403 403 403 403 422  422
/jobs/new/check/                         POST     302    200 200 403 403 403 403 200  200
/jobs/new/expected/                      GET      302    200 200 403 403 403 403 200  200
/jobs/clusters/                          GET      302    403 403 403 200 403 403 403  403
/jobs/uploads/                           OPTIONS  204    204 204 204 204 204 204 204  204
/jobs/uploads/                           POST     401    201 201 403 403 403 403 201  201
/jobs/uploads/<pk>                       OPTIONS  204    204 204 204 204 204 204 204  204
/jobs/uploads/<pk>                       HEAD     401    200 404 404 404 404 404 404  404
/jobs/uploads/<pk>                       PATCH    401    204 404 404 404 404 404 404  404
/jobs/uploads/<pk>                       DELETE   401    204 404 404 404 404 404 404  404
/jobs/fetches/<pk>/                      GET      302    200 200 403 403 403 404 404  404
/jobs/<pk>/                              GET      302    200 200 200 200 200 404 404  404
/jobs/<pk>/news/                         GET      302    200 200 200 200 200 404 404  404
/jobs/<pk>/side/                         GET      302    200 200 200 200 200 404 404  404
/jobs/<pk>/log/<stream>/                 GET      302    200 200 403 403 403 404 404  404
/jobs/<pk>/cancel/                       POST     302    302 302 403 302 403 404 404  404
/jobs/<pk>/files/<file_pk>/              GET      302    200 200 403 403 403 404 404  404
/jobs/<pk>/files/<file_pk>/picture/      GET      302    200 200 403 403 403 404 404  404
/api/v1/schema/                          GET      401    200 200 200 200 200 200 200  200
/api/v1/clusters/                        GET      401    200 200 200 200 200 200 200  200
/api/v1/clusters/<name>/                 GET      401    200 200 200 200 200 200 200  200
/api/v1/projects/                        GET      401    200 200 200 200 200 200 200  200
/api/v1/projects/<slug>/                 GET      401    200 200 200 200 200 404 404  404
/api/v1/allocations/                     GET      401    200 200 200 200 200 200 200  200
/api/v1/allocations/<pk>/                GET      401    200 200 200 200 200 404 404  404
/api/v1/allocations/<pk>/ledger/         GET      401    200 200 200 200 200 404 404  404
/api/v1/requests/                        GET      401    200 200 200 200 200 200 200  200
/api/v1/requests/                        POST     401    403 201 201 201 403 400 400  400
/api/v1/requests/<pk>/                   GET      401    404 200 200 200 200 404 404  404
/api/v1/requests/<pk>/submit/            POST     401    404 200 200 200 403 404 404  404
/api/v1/requests/<pk>/withdraw/          POST     401    404 200 200 200 403 404 404  404
/api/v1/requests/<pk>/approve/           POST     401    404 403 403 200 200 404 404  404
/api/v1/requests/<pk>/return/            POST     401    404 403 403 200 200 404 404  404
/api/v1/requests/<pk>/reject/            POST     401    404 403 403 200 200 404 404  404
/api/v1/usage/                           GET      401    403 403 403 200 200 200 403  403
/api/v1/jobs/                            GET      401    200 200 200 200 200 200 200  200
/api/v1/jobs/                            POST     401    201 201 403 403 403 403 400  400
/api/v1/jobs/<pk>/                       GET      401    200 200 200 200 200 404 404  404
/api/v1/jobs/<pk>/cancel/                POST     401    200 200 403 200 403 404 404  404
/api/v1/jobs/<pk>/log/                   GET      401    200 200 403 403 403 404 404  404
/api/v1/jobs/<pk>/files/                 GET      401    200 200 403 403 403 404 404  404
/api/v1/jobs/<pk>/files/<file_id>/content/  GET   401    200 200 403 403 403 404 404  404
/api/v1/quote/                           POST     401    200 200 403 403 403 403 400  400
/api/v1/uploads/                         OPTIONS  204    204 204 204 204 204 204 204  204
/api/v1/uploads/                         POST     401    201 201 403 403 403 403 201  201
/api/v1/uploads/<pk>                     OPTIONS  204    204 204 204 204 204 204 204  204
/api/v1/uploads/<pk>                     HEAD     401    200 404 404 404 404 404 404  404
/api/v1/uploads/<pk>                     PATCH    401    204 404 404 404 404 404 404  404
/api/v1/uploads/<pk>                     DELETE   401    204 404 404 404 404 404 404  404
/accounts/login/                         GET      200    200 200 200 200 200 200 200  200
/accounts/login/                         POST     200    200 200 200 200 200 200 200  200
/accounts/login/                         PUT      200    200 200 200 200 200 200 200  200
/accounts/login/                         OPTIONS  200    200 200 200 200 200 200 200  200
/accounts/logout/                        POST     302    200 200 200 200 200 200 200  200
/accounts/logout/                        OPTIONS  302    200 200 200 200 200 200 200  200
/accounts/password_change/               GET      302    200 200 200 200 200 200 200  200
/accounts/password_change/               POST     302    302 302 302 302 302 302 302  302
/accounts/password_change/               PUT      302    200 200 200 200 200 200 200  200
/accounts/password_change/               OPTIONS  302    200 200 200 200 200 200 200  200
/accounts/password_change/done/          GET      302    200 200 200 200 200 200 200  200
/accounts/password_change/done/          OPTIONS  302    200 200 200 200 200 200 200  200
/accounts/password_reset/                GET      200    200 200 200 200 200 200 200  200
/accounts/password_reset/                POST     302    302 302 302 302 302 302 302  302
/accounts/password_reset/                PUT      200    200 200 200 200 200 200 200  200
/accounts/password_reset/                OPTIONS  200    200 200 200 200 200 200 200  200
/accounts/password_reset/done/           GET      200    200 200 200 200 200 200 200  200
/accounts/password_reset/done/           OPTIONS  200    200 200 200 200 200 200 200  200
/accounts/reset/<uidb64>/<token>/        GET      200    200 200 200 200 200 200 200  200
/accounts/reset/<uidb64>/<token>/        POST     200    200 200 200 200 200 200 200  200
/accounts/reset/<uidb64>/<token>/        PUT      200    200 200 200 200 200 200 200  200
/accounts/reset/<uidb64>/<token>/        PATCH    200    200 200 200 200 200 200 200  200
/accounts/reset/<uidb64>/<token>/        DELETE   200    200 200 200 200 200 200 200  200
/accounts/reset/<uidb64>/<token>/        OPTIONS  200    200 200 200 200 200 200 200  200
/accounts/reset/done/                    GET      200    200 200 200 200 200 200 200  200
/accounts/reset/done/                    OPTIONS  200    200 200 200 200 200 200 200  200
/i18n/setlang/                           POST     302    302 302 302 302 302 302 302  302
"""

# What a page or endpoint reads from its address. (A body's fields are those of the good bodies in the test.)
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "/people/": ("q", "role", "page"),
    "/projects/": ("q", "sort", "page"),
    "/allocations/<pk>/statement/": ("page",),
    "/requests/": ("page",),
    "/requests/queue/": ("show", "page"),
    "/reports/": ("from", "to"),
    "/reports/gpu-hours.csv": ("from", "to"),
    "/jobs/": ("q", "state", "project", "whose", "sort", "page"),
    "/jobs/new/": ("from", "project"),
    "/jobs/new/expected/": ("project", "partition", "gpus", "hours", "minutes"),
    "/jobs/<pk>/": ("stream",),
    "/api/v1/schema/": ("format",),
    "/api/v1/clusters/": ("page", "page_size", "format"),
    "/api/v1/projects/": ("page", "page_size", "format"),
    "/api/v1/allocations/": ("page", "page_size", "format"),
    "/api/v1/allocations/<pk>/ledger/": ("page", "page_size", "format"),
    "/api/v1/requests/": ("page", "page_size", "format"),
    "/api/v1/usage/": ("from", "to", "format"),
    "/api/v1/jobs/": ("q", "state", "project", "whose", "sort", "page", "page_size", "format"),
    "/api/v1/jobs/<pk>/log/": ("stream", "format"),
    "/api/v1/jobs/<pk>/files/": ("page", "page_size", "format"),
    "/accounts/login/": ("next",),
    "/i18n/setlang/": ("next",),
}


@dataclass(frozen=True)
class Row:
    """What each person gets at one address by one method."""

    address: str
    method: str
    answers: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.method} {self.address}"

    @property
    def is_api(self) -> bool:
        return self.address.startswith("/api/")

    def who_gets(self, *statuses: int) -> list[str]:
        return [name for name, status in self.answers.items() if status in statuses]


def _rows() -> tuple[Row, ...]:
    head, *lines = (line.split() for line in TABLE.strip().splitlines())
    people = head[2:]
    return tuple(
        Row(address, method, dict(zip(people, map(int, statuses), strict=True)))
        for address, method, *statuses in lines
    )


ROWS = _rows()
PEOPLE = tuple(name for name in ROWS[0].answers if name != NOBODY)
