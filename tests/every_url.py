"""Who gets which answer: every address of the portal, by method and person. Held by `test_every_url`.

The things in the addresses are those of mei's lab: her job, its result, her upload, the project's allocation and
its requests, and mei's security key; links of mails are wrong ones, but those of an invitation and an application are right.
Ada asks to join the lab, is invited to it, and may ask to join another one. otto and vera belong to another institution: to them these things don't exist. `nobody` is logged out.

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
/healthz                                 GET      200    200 200 200 200 200 200 200  200
/readyz                                  GET      200    200 200 200 200 200 200 200  200
/metrics                                 GET      200    200 200 200 200 200 200 200  200
/search/                                 GET      302    200 200 200 200 200 200 200  200
/audit/                                  GET      302    403 200 200 200 200 403 403  200
/audit/rows.csv                          GET      302    403 200 200 200 200 403 403  200
/people/                                 GET      302    200 200 200 200 200 403 200  200
/institutions/                           GET      302    200 200 200 200 200 403 200  200
/institutions/register/                  GET      302    403 403 403 200 403 403 403  403
/institutions/register/                  POST     302    403 403 403 302 403 403 403  403
/institutions/apply/                     GET      200    200 200 200 200 200 200 200  200
/institutions/apply/                     POST     302    302 302 302 302 302 302 302  302
/institutions/apply/sent/                GET      200    200 200 200 200 200 200 200  200
/institutions/apply/<token>/             GET      200    200 200 200 200 200 200 200  200
/institutions/apply/<token>/             POST     200    200 200 200 200 200 200 200  200
/institutions/applications/              GET      302    403 403 403 200 403 403 403  403
/institutions/applications/<pk>/         GET      302    403 403 403 200 403 403 403  403
/institutions/applications/<pk>/accept/  POST     302    403 403 403 302 403 403 403  403
/institutions/applications/<pk>/decline/  POST    302    403 403 403 302 403 403 403  403
/institutions/<slug>/                    GET      302    200 200 200 200 200 404 404  404
/institutions/<slug>/edit/               GET      302    403 403 403 200 403 404 404  404
/institutions/<slug>/edit/               POST     302    403 403 403 302 403 404 404  404
/institutions/<slug>/invite/             GET      302    403 403 200 200 403 404 404  404
/institutions/<slug>/invite/             POST     302    403 403 302 302 403 404 404  404
/institutions/<slug>/labs/new/           GET      302    403 403 200 200 403 404 404  404
/institutions/<slug>/labs/new/           POST     302    403 403 302 302 403 404 404  404
/labs/names/                             GET      302    200 200 200 200 200 200 200  200
/labs/join/                              GET      302    200 200 200 200 200 200 200  200
/labs/<pk>/                              GET      302    200 200 200 200 200 404 404  404
/labs/<pk>/invite/                       GET      302    403 200 200 200 403 404 404  404
/labs/<pk>/invite/                       POST     302    403 302 302 302 403 404 404  404
/labs/<pk>/invite/many/                  GET      302    403 200 200 200 403 404 404  404
/labs/<pk>/invite/many/                  POST     302    403 200 200 200 403 404 404  404
/labs/<pk>/join/                         GET      302    404 404 200 404 404 404 404  404
/labs/<pk>/join/                         POST     302    404 404 302 404 404 404 404  404
/join-requests/<pk>/accept/              POST     302    404 302 302 302 404 404 404  404
/join-requests/<pk>/decline/             POST     302    404 302 302 302 404 404 404  404
/join-requests/<pk>/withdraw/            POST     302    404 404 302 404 404 404 404  404
/invitations/                            GET      302    403 200 200 200 403 403 403  200
/invitations/new/                        GET      302    403 403 403 200 403 403 403  403
/invitations/new/                        POST     302    403 403 403 302 403 403 403  403
/invitations/<pk>/again/                 POST     302    404 302 302 302 404 404 404  404
/invitations/<pk>/revoke/                POST     302    404 302 302 302 404 404 404  404
/invitations/<token>/                    GET      200    200 200 200 200 200 200 200  200
/invitations/<token>/                    POST     200    200 200 302 200 200 200 200  200
/terms/                                  GET      200    200 200 200 200 200 200 200  200
/terms/accept/                           POST     302    302 302 302 302 302 302 302  302
/terms/publish/                          GET      302    403 403 403 200 403 403 403  403
/terms/publish/                          POST     302    403 403 403 302 403 403 403  403
/people/<pk>/                            GET      302    200 200 200 200 200 404 404  404
/people/<pk>/switch-off/                 GET      302    403 403 403 200 403 404 404  404
/people/<pk>/switch-off/                 POST     302    403 403 403 302 403 404 404  404
/people/<pk>/switch-on/                  POST     302    403 403 403 302 403 404 404  404
/people/<pk>/second-factor/              GET      302    403 403 403 200 403 404 404  404
/people/<pk>/second-factor/              POST     302    403 403 403 302 403 404 404  404
/memberships/<pk>/end/                   GET      302    200 200 200 200 403 404 404  404
/memberships/<pk>/end/                   POST     302    302 302 302 302 403 404 404  404
/memberships/<pk>/role/                  GET      302    403 200 200 200 403 404 404  404
/memberships/<pk>/role/                  POST     302    403 302 302 302 403 404 404  404
/memberships/<pk>/move/                  GET      302    403 403 200 200 403 404 404  404
/memberships/<pk>/move/                  POST     302    403 403 302 302 403 404 404  404
/labs/<pk>/close/                        GET      302    403 403 200 200 403 404 404  404
/labs/<pk>/close/                        POST     302    403 403 302 302 403 404 404  404
/projects/                               GET      302    200 200 200 200 200 200 200  200
/projects/names/                         GET      302    200 200 200 200 200 200 200  200
/projects/new/                           GET      302    403 200 200 200 403 403 403  200
/projects/new/                           POST     302    403 302 302 302 403 403 403  200
/projects/<slug>/                        GET      302    200 200 200 200 200 404 404  404
/projects/<slug>/close/                  GET      302    403 200 200 200 403 404 404  404
/projects/<slug>/close/                  POST     302    403 302 302 302 403 404 404  404
/projects/<slug>/request/                GET      302    403 200 200 200 403 404 404  404
/projects/<slug>/request/                POST     302    403 302 302 302 403 404 404  404
/projects/<slug>/request/autosave/       POST     302    403 200 200 200 403 404 404  404
/allocations/<pk>/                       GET      302    200 200 200 200 200 404 404  404
/allocations/<pk>/suspend/               GET      302    403 403 403 200 403 404 404  404
/allocations/<pk>/suspend/               POST     302    403 403 403 302 403 404 404  404
/allocations/<pk>/resume/                POST     302    403 403 403 302 403 404 404  404
/allocations/<pk>/adjust/                GET      302    403 403 403 200 403 404 404  404
/allocations/<pk>/adjust/                POST     302    403 403 403 302 403 404 404  404
/allocations/<pk>/caps/                  GET      302    403 200 403 403 403 404 404  404
/allocations/<pk>/caps/                  POST     302    403 302 403 403 403 404 404  404
/allocations/<pk>/report/                GET      302    403 200 403 403 403 404 404  404
/allocations/<pk>/report/                POST     302    403 302 403 403 403 404 404  404
/allocations/<pk>/statement/             GET      302    200 200 200 200 200 404 404  404
/requests/                               GET      302    200 200 200 200 200 200 200  200
/requests/queue/                         GET      302    403 403 403 200 200 403 403  403
/requests/<pk>/                          GET      302    404 200 200 200 200 404 404  404
/requests/<pk>/edit/                     GET      302    404 200 200 403 403 404 404  404
/requests/<pk>/edit/                     POST     302    404 302 302 403 403 404 404  404
/requests/<pk>/autosave/                 POST     302    404 200 200 403 403 404 404  404
/requests/<pk>/copy/                     POST     302    404 302 302 302 403 404 404  404
/requests/<pk>/consent/                  GET      302    404 200 404 404 404 404 404  404
/requests/<pk>/consent/                  POST     302    404 302 404 404 404 404 404  404
/requests/<pk>/publications/             POST     302    404 302 302 403 403 404 404  404
/requests/<pk>/publications/<publication_pk>/remove/  POST  302  404 302 302 403 403 404 404  404
/requests/<pk>/attachments/              POST     302    404 200 200 403 403 404 404  404
/requests/<pk>/attachments/<file_pk>/    GET      302    404 200 200 200 200 404 404  404
/requests/<pk>/attachments/<file_pk>/remove/  POST  302  404 302 302 403 403 404 404  404
/requests/<pk>/submit/                   POST     302    404 302 302 403 403 404 404  404
/requests/<pk>/withdraw/                 POST     302    404 302 302 403 403 404 404  404
/requests/<pk>/decide/                   GET      302    404 302 302 302 302 404 404  404
/requests/<pk>/decide/                   POST     302    404 403 403 302 302 404 404  404
/requests/<pk>/letter.pdf                GET      302    404 200 200 200 200 404 404  404
/requests/<pk>/reviews/                  GET      302    404 403 403 200 403 404 404  404
/requests/<pk>/reviews/                  POST     302    404 403 403 302 403 404 404  404
/reviews/<pk>/write/                     POST     302    404 404 404 403 302 404 404  404
/reviews/<pk>/conflict/                  POST     302    404 404 404 403 302 404 404  404
/reviews/<pk>/call-off/                  POST     302    404 404 404 302 403 404 404  404
/calls/                                  GET      302    403 200 200 200 200 403 403  200
/calls/new/                              GET      302    403 403 403 200 403 403 403  403
/calls/new/                              POST     302    403 403 403 302 403 403 403  403
/calls/<pk>/edit/                        GET      302    403 403 403 200 403 403 403  403
/calls/<pk>/edit/                        POST     302    403 403 403 302 403 403 403  403
/calls/<pk>/close/                       POST     302    403 403 403 302 403 403 403  403
/clusters/policies/                      GET      302    403 403 403 200 200 403 403  403
/clusters/quarantine/                    GET      302    403 403 403 200 403 403 403  403
/clusters/quarantine/<pk>/               GET      302    403 403 403 200 403 403 403  403
/clusters/quarantine/<pk>/               POST     302    403 403 403 302 403 403 403  403
/clusters/<name>/months/                 GET      302    403 403 403 200 403 403 403  403
/clusters/<name>/months/close/           POST     302    403 403 403 302 403 403 403  403
/clusters/discrepancies/                 GET      302    403 403 403 200 403 403 403  403
/clusters/discrepancies/<pk>/explain/    GET      302    403 403 403 200 403 403 403  403
/clusters/discrepancies/<pk>/explain/    POST     302    403 403 403 302 403 403 403  403
/clusters/<name>/policy/                 GET      302    403 403 403 200 403 403 403  403
/clusters/<name>/policy/                 POST     302    403 403 403 302 403 403 403  403
/clusters/<name>/prices/                 GET      302    403 403 403 200 403 403 403  403
/clusters/<name>/prices/                 POST     302    403 403 403 302 403 403 403  403
/clusters/differences/                   GET      302    403 403 403 200 403 403 403  403
/clusters/differences/<pk>/              GET      302    403 403 403 200 403 403 403  403
/clusters/differences/<pk>/              POST     302    403 403 403 302 403 403 403  403
/refunds/                                GET      302    403 403 403 200 403 403 403  403
/refunds/                                POST     302    403 403 403 302 403 403 403  403
/corrections/                            GET      302    403 403 403 200 200 403 403  403
/corrections/<pk>/                       GET      302    403 403 403 200 200 403 403  403
/corrections/<pk>/                       POST     302    403 403 403 302 302 403 403  403
/reports/                                GET      302    403 403 403 200 200 200 403  403
/reports/gpu-hours.csv                   GET      302    403 403 403 200 200 200 403  403
/reports/corrections/                    GET      302    403 403 403 200 200 200 403  403
/reports/corrections.csv                 GET      302    403 403 403 200 200 200 403  403
/jobs/                                   GET      302    200 200 200 200 200 200 200  200
/jobs/new/                               GET      302    200 200 403 403 403 403 200  200
/jobs/new/                               POST     302    302 302 403 403 403 403 422  422
/jobs/new/check/                         POST     302    200 200 403 403 403 403 200  200
/jobs/new/expected/                      GET      302    200 200 403 403 403 403 200  200
/jobs/clusters/                          GET      302    403 403 403 200 403 403 403  403
/jobs/clusters/<name>/                   GET      302    403 403 403 200 403 403 403  403
/jobs/clusters/<name>/check/             POST     302    403 403 403 302 403 403 403  403
/jobs/clusters/<name>/fences/            GET      302    403 403 403 200 403 403 403  403
/jobs/clusters/<name>/maintenance/       GET      302    403 403 403 200 403 403 403  403
/jobs/clusters/<name>/maintenance/       POST     302    403 403 403 302 403 403 403  403
/jobs/clusters/<name>/maintenance/<pk>/end/  POST  302   403 403 403 302 403 403 403  403
/jobs/health/                            GET      302    403 403 403 200 403 403 403  403
/jobs/health/nodes/<pk>/trust/           POST     302    403 403 403 302 403 403 403  403
/jobs/unsent/                            GET      302    403 403 403 200 403 403 403  403
/jobs/unsent/<pk>/send-again/            POST     302    403 403 403 302 403 403 403  403
/jobs/unsent/<pk>/give-up/               GET      302    403 403 403 200 403 403 403  403
/jobs/unsent/<pk>/give-up/               POST     302    403 403 403 302 403 403 403  403
/jobs/accounts/<pk>/approve/             POST     302    403 403 403 302 403 403 403  403
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
/jobs/<pk>/tasks/                        GET      302    200 200 200 200 200 404 404  404
/jobs/<pk>/log/<stream>/                 GET      302    200 200 403 403 403 404 404  404
/jobs/<pk>/cancel/                       POST     302    302 302 403 302 403 404 404  404
/jobs/<pk>/files/<file_pk>/              GET      302    200 200 403 403 403 404 404  404
/jobs/<pk>/files/<file_pk>/picture/      GET      302    200 200 403 403 403 404 404  404
/api/v1/schema/                          GET      401    200 200 200 200 200 200 200  200
/api/v1/institutions/                    GET      401    200 200 200 200 200 200 200  200
/api/v1/institutions/                    POST     401    403 403 403 201 403 403 403  403
/api/v1/institutions/<slug>/             GET      401    200 200 200 200 200 404 404  404
/api/v1/institutions/<slug>/             PATCH    401    403 403 403 200 403 404 404  404
/api/v1/terms/                           GET      401    200 200 200 200 200 200 200  200
/api/v1/terms/                           POST     401    403 403 403 201 403 403 403  403
/api/v1/terms/<pk>/                      GET      401    200 200 200 200 200 200 200  200
/api/v1/terms/<pk>/accept/               POST     401    200 200 200 200 200 200 200  200
/api/v1/labs/                            GET      401    200 200 200 200 200 200 200  200
/api/v1/labs/                            POST     401    403 403 201 201 403 400 400  400
/api/v1/labs/<pk>/                       GET      401    200 200 200 200 200 404 404  404
/api/v1/people/                          GET      401    200 200 200 200 200 403 200  200
/api/v1/people/<pk>/                     GET      401    200 200 200 200 200 404 404  404
/api/v1/people/<pk>/switch-off/          POST     401    403 403 403 200 403 404 404  404
/api/v1/people/<pk>/switch-on/           POST     401    403 403 403 200 403 404 404  404
/api/v1/people/<pk>/reset-second-factor/  POST    401    403 403 403 200 403 404 404  404
/api/v1/memberships/                     GET      401    200 200 200 200 200 403 200  200
/api/v1/memberships/<pk>/                GET      401    200 200 200 200 200 404 404  404
/api/v1/invitations/                     GET      401    200 200 200 200 200 200 200  200
/api/v1/invitations/                     POST     401    403 201 201 201 403 403 403  400
/api/v1/invitations/many/                POST     401    403 200 200 200 403 403 403  400
/api/v1/invitations/<pk>/                GET      401    404 200 200 200 404 404 404  404
/api/v1/invitations/<pk>/again/          POST     401    404 200 200 200 404 404 404  404
/api/v1/invitations/<pk>/revoke/         POST     401    404 200 200 200 404 404 404  404
/api/v1/join-requests/                   GET      401    200 200 200 200 200 200 200  200
/api/v1/join-requests/                   POST     401    400 400 201 400 400 400 400  400
/api/v1/join-requests/<pk>/              GET      401    404 200 200 200 404 404 404  404
/api/v1/join-requests/<pk>/accept/       POST     401    404 200 200 200 404 404 404  404
/api/v1/join-requests/<pk>/decline/      POST     401    404 200 200 200 404 404 404  404
/api/v1/join-requests/<pk>/withdraw/     POST     401    404 404 200 404 404 404 404  404
/api/v1/audit/                           GET      401    403 200 200 200 200 403 403  200
/api/v1/clusters/                        GET      401    200 200 200 200 200 200 200  200
/api/v1/clusters/<name>/                 GET      401    200 200 200 200 200 200 200  200
/api/v1/clusters/<name>/months/          GET      401    403 403 403 200 403 403 403  403
/api/v1/clusters/<name>/months/close/    POST     401    403 403 403 200 403 403 403  403
/api/v1/clusters/<name>/collecting/      GET      401    403 403 403 200 403 403 403  403
/api/v1/clusters/<name>/check/           POST     401    403 403 403 200 403 403 403  403
/api/v1/quarantine/                      GET      401    403 403 403 200 403 403 403  403
/api/v1/quarantine/<pk>/look/            POST     401    403 403 403 200 403 403 403  403
/api/v1/usage-corrections/               GET      401    403 403 403 200 200 200 403  403
/api/v1/clusters/<name>/fences/          GET      401    403 403 403 200 403 403 403  403
/api/v1/memberships/<pk>/end/            POST     401    200 200 200 200 403 404 404  404
/api/v1/memberships/<pk>/role/           POST     401    403 200 200 200 403 404 404  404
/api/v1/memberships/<pk>/move/           POST     401    403 403 200 200 403 404 404  404
/api/v1/labs/<pk>/close/                 POST     401    403 403 200 200 403 404 404  404
/api/v1/projects/<slug>/close/           POST     401    403 200 200 200 403 404 404  404
/api/v1/projects/<slug>/reopen/          POST     401    403 403 403 200 403 404 404  404
/api/v1/projects/                        GET      401    200 200 200 200 200 200 200  200
/api/v1/projects/                        POST     401    403 201 201 201 403 403 403  400
/api/v1/projects/<slug>/                 GET      401    200 200 200 200 200 404 404  404
/api/v1/projects/<slug>/publications/    GET      401    200 200 200 200 200 404 404  404
/api/v1/projects/<slug>/publications/    POST     401    403 201 201 201 403 404 404  404
/api/v1/allocations/                     GET      401    200 200 200 200 200 200 200  200
/api/v1/allocations/<pk>/                GET      401    200 200 200 200 200 404 404  404
/api/v1/allocations/<pk>/ledger/         GET      401    200 200 200 200 200 404 404  404
/api/v1/allocations/<pk>/suspend/        POST     401    403 403 403 200 403 404 404  404
/api/v1/allocations/<pk>/resume/         POST     401    403 403 403 200 403 404 404  404
/api/v1/allocations/<pk>/adjust/         POST     401    403 403 403 200 403 404 404  404
/api/v1/allocations/<pk>/caps/           GET      401    200 200 200 200 200 404 404  404
/api/v1/allocations/<pk>/caps/           PUT      401    403 200 403 403 403 404 404  404
/api/v1/allocations/<pk>/report/         GET      401    200 200 200 200 200 404 404  404
/api/v1/allocations/<pk>/report/         PUT      401    403 200 403 403 403 404 404  404
/api/v1/requests/                        GET      401    200 200 200 200 200 200 200  200
/api/v1/requests/                        POST     401    403 201 201 201 403 400 400  400
/api/v1/requests/<pk>/                   GET      401    404 200 200 200 200 404 404  404
/api/v1/requests/<pk>/                   PATCH    401    404 200 200 403 403 404 404  404
/api/v1/requests/<pk>/consent/           GET      401    404 200 404 404 404 404 404  404
/api/v1/requests/<pk>/consent/           POST     401    404 200 404 404 404 404 404  404
/api/v1/requests/<pk>/attachments/       POST     401    404 201 201 403 403 404 404  404
/api/v1/requests/<pk>/attachments/<file_id>/  DELETE  401  404 204 204 403 403 404 404  404
/api/v1/requests/<pk>/attachments/<file_id>/content/  GET  401  404 200 200 200 200 404 404  404
/api/v1/requests/<pk>/submit/            POST     401    404 200 200 403 403 404 404  404
/api/v1/requests/<pk>/withdraw/          POST     401    404 200 200 403 403 404 404  404
/api/v1/requests/<pk>/approve/           POST     401    404 403 403 200 200 404 404  404
/api/v1/requests/<pk>/return/            POST     401    404 403 403 200 200 404 404  404
/api/v1/requests/<pk>/reject/            POST     401    404 403 403 200 200 404 404  404
/api/v1/requests/<pk>/agree/             POST     401    404 403 403 403 200 404 404  404
/api/v1/requests/<pk>/object/            POST     401    404 403 403 403 200 404 404  404
/api/v1/requests/<pk>/technical-reviews/  POST    401    404 403 403 201 403 404 404  404
/api/v1/technical-reviews/               GET      401    200 200 200 200 200 200 200  200
/api/v1/technical-reviews/<pk>/          GET      401    404 404 404 200 200 404 404  404
/api/v1/technical-reviews/<pk>/write/    POST     401    404 404 404 403 200 404 404  404
/api/v1/technical-reviews/<pk>/conflict/  POST    401    404 404 404 403 200 404 404  404
/api/v1/technical-reviews/<pk>/call-off/  POST    401    404 404 404 200 403 404 404  404
/api/v1/calls/                           GET      401    403 200 200 200 200 403 403  200
/api/v1/calls/                           POST     401    403 403 403 201 403 403 403  403
/api/v1/calls/<pk>/                      GET      401    403 200 200 200 200 403 403  200
/api/v1/calls/<pk>/change/               POST     401    403 403 403 200 403 403 403  403
/api/v1/calls/<pk>/close/                POST     401    403 403 403 200 403 403 403  403
/api/v1/discrepancies/                   GET      401    403 403 403 200 403 403 403  403
/api/v1/discrepancies/<pk>/              GET      401    403 403 403 200 403 403 403  403
/api/v1/discrepancies/<pk>/explain/      POST     401    403 403 403 200 403 403 403  403
/api/v1/reconciliations/                 GET      401    403 403 403 200 403 403 403  403
/api/v1/policies/                        GET      401    403 403 403 200 200 403 403  403
/api/v1/policies/<name>/                 GET      401    403 403 403 200 200 403 403  403
/api/v1/policies/<name>/prices/          GET      401    403 403 403 200 200 403 403  403
/api/v1/policies/<name>/prices/          POST     401    403 403 403 201 403 403 403  403
/api/v1/refunds/                         GET      401    403 403 403 200 403 403 403  403
/api/v1/refunds/<pk>/                    GET      401    403 403 403 200 403 403 403  403
/api/v1/refunds/<pk>/approve/            POST     401    403 403 403 200 403 403 403  403
/api/v1/refunds/<pk>/decline/            POST     401    403 403 403 200 403 403 403  403
/api/v1/corrections/                     GET      401    403 403 403 200 200 403 403  403
/api/v1/corrections/<pk>/                GET      401    403 403 403 200 200 403 403  403
/api/v1/corrections/<pk>/approve/        POST     401    403 403 403 200 200 403 403  403
/api/v1/corrections/<pk>/decline/        POST     401    403 403 403 200 200 403 403  403
/api/v1/differences/                     GET      401    403 403 403 200 403 403 403  403
/api/v1/policies/<name>/set/             POST     401    403 403 403 200 403 403 403  403
/api/v1/usage/                           GET      401    403 403 403 200 200 200 403  403
/api/v1/jobs/                            GET      401    200 200 200 200 200 200 200  200
/api/v1/jobs/                            POST     401    201 201 403 403 403 403 400  400
/api/v1/jobs/<pk>/                       GET      401    200 200 200 200 200 404 404  404
/api/v1/jobs/<pk>/cancel/                POST     401    200 200 403 200 403 404 404  404
/api/v1/jobs/<pk>/log/                   GET      401    200 200 403 403 403 404 404  404
/api/v1/jobs/<pk>/files/                 GET      401    200 200 403 403 403 404 404  404
/api/v1/jobs/<pk>/files/<file_id>/content/  GET   401    200 200 403 403 403 404 404  404
/api/v1/clusters/<name>/maintenance/     GET      401    403 403 403 200 403 403 403  403
/api/v1/clusters/<name>/maintenance/     POST     401    403 403 403 201 403 403 403  403
/api/v1/maintenance/<pk>/end/            POST     401    403 403 403 200 403 403 403  403
/api/v1/health/                          GET      401    403 403 403 200 403 403 403  403
/api/v1/login-nodes/<pk>/trust/          POST     401    403 403 403 204 403 403 403  403
/api/v1/unsent/                          GET      401    403 403 403 200 403 403 403  403
/api/v1/unsent/<pk>/send-again/          POST     401    403 403 403 204 403 403 403  403
/api/v1/unsent/<pk>/give-up/             POST     401    403 403 403 204 403 403 403  403
/api/v1/cluster-accounts/                GET      401    200 200 200 200 200 200 200  200
/api/v1/cluster-accounts/<pk>/           GET      401    200 404 404 200 200 404 404  404
/api/v1/cluster-accounts/<pk>/approve/   POST     401    404 404 404 200 403 404 404  404
/api/v1/quote/                           POST     401    200 200 403 403 403 403 400  400
/api/v1/uploads/                         OPTIONS  204    204 204 204 204 204 204 204  204
/api/v1/uploads/                         POST     401    201 201 403 403 403 403 201  201
/api/v1/uploads/<pk>                     OPTIONS  204    204 204 204 204 204 204 204  204
/api/v1/uploads/<pk>                     HEAD     401    200 404 404 404 404 404 404  404
/api/v1/uploads/<pk>                     PATCH    401    204 404 404 404 404 404 404  404
/api/v1/uploads/<pk>                     DELETE   401    204 404 404 404 404 404 404  404
/accounts/                               GET      302    200 200 200 200 200 200 200  200
/accounts/login/                         GET      200    302 302 302 302 302 302 302  302
/accounts/login/                         POST     200    302 302 302 302 302 302 302  302
/accounts/logout/                        POST     302    302 302 302 302 302 302 302  302
/accounts/signup/                        GET      200    302 302 302 302 302 302 302  302
/accounts/signup/                        POST     302    302 302 302 302 302 302 302  302
/accounts/email/                         GET      302    200 200 200 200 200 200 200  200
/accounts/email/                         POST     302    302 302 302 302 302 302 302  302
/accounts/confirm-email/                 GET      200    200 200 200 200 200 200 200  200
/accounts/confirm-email/<key>/           GET      200    200 200 200 200 200 200 200  200
/accounts/confirm-email/<key>/           POST     302    302 302 302 302 302 302 302  302
/accounts/password/change/               GET      302    200 200 200 200 200 200 200  200
/accounts/password/change/               POST     302    302 302 302 302 302 302 302  302
/accounts/password/set/                  GET      302    302 302 302 302 302 302 302  302
/accounts/password/set/                  POST     302    302 302 302 302 302 302 302  302
/accounts/password/reset/                GET      200    200 200 200 200 200 200 200  200
/accounts/password/reset/                POST     302    302 302 302 302 302 302 302  302
/accounts/password/reset/done/           GET      200    200 200 200 200 200 200 200  200
/accounts/password/reset/key/<uidb36>-<key>/ GET      200    200 200 200 200 200 200 200  200
/accounts/password/reset/key/<uidb36>-<key>/ POST     200    200 200 200 200 200 200 200  200
/accounts/password/reset/key/done/       GET      200    200 200 200 200 200 200 200  200
/accounts/reauthenticate/                GET      302    200 200 200 200 200 200 200  200
/accounts/reauthenticate/                POST     302    302 302 302 302 302 302 302  302
/accounts/2fa/                           GET      302    200 200 200 200 200 200 200  200
/accounts/2fa/authenticate/              GET      302    302 302 302 302 302 302 302  302
/accounts/2fa/authenticate/              POST     302    302 302 302 302 302 302 302  302
/accounts/2fa/reauthenticate/            GET      302    200 302 302 302 302 302 200  302
/accounts/2fa/reauthenticate/            POST     302    200 302 302 302 302 302 200  302
/accounts/2fa/totp/activate/             GET      302    302 200 200 200 200 200 302  200
/accounts/2fa/totp/activate/             POST     302    302 200 200 200 200 200 302  200
/accounts/2fa/totp/deactivate/           GET      302    200 404 404 404 404 404 200  404
/accounts/2fa/totp/deactivate/           POST     302    302 404 404 404 404 404 302  404
/accounts/2fa/recovery-codes/            GET      302    200 404 404 404 404 404 200  404
/accounts/2fa/recovery-codes/generate/   GET      302    200 200 200 200 200 200 200  200
/accounts/2fa/recovery-codes/generate/   POST     302    302 200 200 200 200 200 302  200
/accounts/2fa/recovery-codes/download/   GET      302    200 404 404 404 404 404 200  404
/accounts/2fa/webauthn/                  GET      302    302 302 302 302 302 302 302  302
/accounts/2fa/webauthn/add/              GET      302    200 200 200 200 200 200 200  200
/accounts/2fa/webauthn/add/              POST     302    200 200 200 200 200 200 200  200
/accounts/2fa/webauthn/reauthenticate/   GET      302    200 302 302 302 302 302 200  302
/accounts/2fa/webauthn/reauthenticate/   POST     302    302 302 302 302 302 302 302  302
/accounts/2fa/webauthn/keys/<pk>/edit/   GET      302    200 404 404 404 404 404 404  404
/accounts/2fa/webauthn/keys/<pk>/edit/   POST     302    302 404 404 404 404 404 404  404
/accounts/2fa/webauthn/keys/<pk>/remove/ GET      302    200 404 404 404 404 404 404  404
/accounts/2fa/webauthn/keys/<pk>/remove/ POST     302    302 404 404 404 404 404 404  404
/accounts/sessions/                      GET      302    200 200 200 200 200 200 200  200
/accounts/sessions/end/                  POST     302    302 302 302 302 302 302 302  302
/accounts/3rdparty/                      GET      302    200 200 200 200 200 200 200  200
/accounts/3rdparty/                      POST     302    200 200 200 200 200 200 200  200
/accounts/3rdparty/signup/               GET      302    302 302 302 302 302 302 302  302
/accounts/3rdparty/signup/               POST     302    302 302 302 302 302 302 302  302
/accounts/oidc/<provider_id>/login/      POST     302    302 302 302 302 302 302 302  302
/accounts/oidc/<provider_id>/login/callback/ GET      302    302 302 302 302 302 302 302  302
/i18n/setlang/                           POST     302    302 302 302 302 302 302 302  302
"""

# What a page or endpoint reads from its address. (A body's fields are those of the good bodies in the test.)
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "/search/": ("q",),
    "/audit/": ("who", "what", "kind", "number", "project", "first", "last", "before"),
    "/audit/rows.csv": ("who", "what", "kind", "number", "project", "first", "last"),
    "/api/v1/audit/": ("who", "what", "kind", "number", "project", "first", "last", "before", "format"),
    "/people/": ("q", "role", "page"),
    "/institutions/": ("q", "page"),
    "/institutions/<slug>/": ("page",),
    "/institutions/applications/": ("show", "page"),
    "/labs/names/": ("lab",),
    "/labs/join/": ("q", "page"),
    "/labs/<pk>/": ("page",),
    "/invitations/": ("page",),
    "/terms/": ("kind",),
    "/terms/publish/": ("kind",),
    "/people/<pk>/": ("page",),
    "/projects/": ("q", "sort", "page"),
    "/allocations/<pk>/": ("page",),
    "/allocations/<pk>/caps/": ("page",),
    "/allocations/<pk>/report/": ("page",),
    "/allocations/<pk>/statement/": ("page",),
    "/projects/names/": ("project",),
    "/projects/new/": ("lab",),
    "/projects/<slug>/request/": ("kind", "allocation"),
    "/requests/": ("project", "state", "kind", "page"),
    "/requests/queue/": ("show", "institution", "kind", "cluster", "call", "sort", "page"),
    "/calls/": ("page",),
    "/clusters/policies/": ("page",),
    "/clusters/<name>/prices/": ("page",),
    "/clusters/differences/": ("page",),
    "/refunds/": ("page", "show"),
    "/corrections/": ("page", "show"),
    "/clusters/discrepancies/": ("state", "cluster", "account", "page"),
    "/reports/": ("from", "to", "page"),
    "/reports/gpu-hours.csv": ("from", "to"),
    "/reports/corrections/": ("from", "to", "page"),
    "/reports/corrections.csv": ("from", "to"),
    "/clusters/quarantine/": ("show", "page"),
    "/clusters/<name>/months/": ("page",),
    "/jobs/clusters/<name>/fences/": ("page",),
    "/jobs/clusters/<name>/maintenance/": ("page",),
    "/jobs/unsent/": ("page",),
    "/api/v1/clusters/<name>/maintenance/": ("page", "page_size", "format"),
    "/api/v1/unsent/": ("page", "page_size", "format"),
    "/jobs/": ("q", "state", "project", "whose", "sort", "page"),
    "/jobs/new/": ("from", "project"),
    "/jobs/new/expected/": ("project", "partition", "gpus", "hours", "minutes"),
    "/jobs/<pk>/": ("stream",),
    "/api/v1/schema/": ("format",),
    "/api/v1/institutions/": ("page", "page_size", "format"),
    "/api/v1/terms/": ("page", "page_size", "format"),
    "/api/v1/cluster-accounts/": ("page", "page_size", "format"),
    "/api/v1/labs/": ("page", "page_size", "format"),
    "/api/v1/people/": ("page", "page_size", "format"),
    "/api/v1/memberships/": ("page", "page_size", "format"),
    "/api/v1/invitations/": ("page", "page_size", "format"),
    "/api/v1/join-requests/": ("page", "page_size", "format"),
    "/api/v1/clusters/": ("page", "page_size", "format"),
    "/api/v1/clusters/<name>/months/": ("page", "page_size", "format"),
    "/api/v1/quarantine/": ("page", "page_size", "format"),
    "/api/v1/usage-corrections/": ("from", "to", "format"),
    "/api/v1/clusters/<name>/fences/": ("page", "page_size", "format"),
    "/api/v1/projects/": ("page", "page_size", "format"),
    "/api/v1/projects/<slug>/publications/": ("page", "page_size", "format"),
    "/api/v1/allocations/": ("page", "page_size", "format"),
    "/api/v1/allocations/<pk>/ledger/": ("page", "page_size", "format"),
    "/api/v1/requests/": ("page", "page_size", "format"),
    "/api/v1/technical-reviews/": ("page", "page_size", "format"),
    "/api/v1/calls/": ("page", "page_size", "format"),
    "/api/v1/policies/<name>/prices/": ("page", "page_size", "format"),
    "/api/v1/refunds/": ("page", "page_size", "format"),
    "/api/v1/corrections/": ("page", "page_size", "format"),
    "/api/v1/differences/": ("page", "page_size", "format"),
    "/api/v1/discrepancies/": ("state", "cluster", "account", "page", "page_size", "format"),
    "/api/v1/reconciliations/": ("page", "page_size", "format"),
    "/api/v1/policies/": ("page", "page_size", "format"),
    "/api/v1/usage/": ("from", "to", "format"),
    "/api/v1/jobs/": ("q", "state", "project", "whose", "sort", "page", "page_size", "format"),
    "/api/v1/jobs/<pk>/log/": ("stream", "format"),
    "/api/v1/jobs/<pk>/files/": ("page", "page_size", "format"),
    "/accounts/login/": ("next",),
    "/accounts/signup/": ("next", "email"),
    "/accounts/reauthenticate/": ("next",),
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
