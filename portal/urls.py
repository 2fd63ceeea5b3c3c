"""The site's map: pages, the log-in, and the API."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.http import require_POST
from drf_spectacular.views import SpectacularAPIView

from accounting.views import closing
from jobs.views import home, metrics, person, search
from portal.accounts.views import set_language
from portal.audit import views as audit
from portal.audit.api import Audit
from portal.views import (
    access,
    applications,
    errors,
    institutions,
    invitations,
    labs,
    memberships,
    people,
    probes,
    terms,
)

api: list[URLPattern | URLResolver] = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("", include("portal.endpoints.urls")),
    path("", include("accounting.api.urls")),
    path("", include("jobs.api.urls")),
    path("audit/", Audit.as_view(), name="audit"),
]
pages = [
    path("people/", people.people, name="people"),
    path("institutions/", institutions.institutions, name="institutions"),
    path("institutions/apply/", applications.apply, name="apply"),
    path("institutions/apply/sent/", applications.applied, name="applied"),
    path("institutions/apply/<str:token>/", applications.application_confirm, name="application_confirm"),
    path("institutions/applications/", applications.applications, name="applications"),
    path("institutions/applications/<int:pk>/", applications.application, name="application"),
    path(
        "institutions/applications/<int:pk>/accept/",
        applications.application_accept,
        name="application_accept",
    ),
    path(
        "institutions/applications/<int:pk>/decline/",
        applications.application_decline,
        name="application_decline",
    ),
    path("institutions/register/", institutions.institution_register, name="institution_register"),
    path("institutions/<slug:slug>/", institutions.institution, name="institution"),
    path("institutions/<slug:slug>/edit/", institutions.institution_edit, name="institution_edit"),
    path("institutions/<slug:slug>/invite/", invitations.institution_invite, name="institution_invite"),
    path("institutions/<slug:slug>/labs/new/", institutions.lab_new, name="lab_new"),
    path("labs/names/", labs.lab_names, name="lab_names"),
    path("labs/join/", labs.labs_to_join, name="labs_to_join"),
    path("labs/<int:pk>/", labs.lab, name="lab"),
    path("labs/<int:pk>/invite/", invitations.lab_invite, name="lab_invite"),
    path("labs/<int:pk>/invite/many/", labs.lab_invite_many, name="lab_invite_many"),
    path("labs/<int:pk>/join/", labs.lab_join, name="lab_join"),
    path("join-requests/<int:pk>/accept/", labs.join_accept, name="join_accept"),
    path("join-requests/<int:pk>/decline/", labs.join_decline, name="join_decline"),
    path("join-requests/<int:pk>/withdraw/", labs.join_withdraw, name="join_withdraw"),
    path("invitations/", invitations.invitations, name="invitations"),
    path("invitations/new/", invitations.centre_invite, name="centre_invite"),
    path("invitations/<int:pk>/again/", invitations.invitation_again, name="invitation_again"),
    path("invitations/<int:pk>/revoke/", invitations.invitation_revoke, name="invitation_revoke"),
    path("invitations/<str:token>/", invitations.invitation, name="invitation"),
    path("terms/", terms.terms, name="terms"),
    path("terms/accept/", terms.terms_accept, name="terms_accept"),
    path("terms/publish/", terms.terms_publish, name="terms_publish"),
    path("people/<int:pk>/", person.person, name="person"),
    path("people/<int:pk>/switch-off/", access.access_off, name="access_off"),
    path("people/<int:pk>/switch-on/", access.access_on, name="access_on"),
    path("people/<int:pk>/second-factor/", access.second_factor_reset, name="second_factor_reset"),
    path("memberships/<int:pk>/end/", memberships.membership_end, name="membership_end"),
    path("memberships/<int:pk>/role/", memberships.membership_role, name="membership_role"),
    path("memberships/<int:pk>/move/", memberships.membership_move, name="membership_move"),
    path("labs/<int:pk>/close/", closing.lab_close, name="lab_close"),
    path("audit/", audit.audit, name="audit"),
    path("audit/rows.csv", audit.rows_csv, name="audit_csv"),
]
urlpatterns = [
    path("", home.home, name="home"),
    path("search/", search.search, name="search"),
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("", include((pages, "portal"))),
    path("", include("accounting.urls")),
    path("jobs/", include("jobs.urls")),
    path("api/v1/", include((api, "v1"))),
    path("accounts/", include("portal.accounts.urls")),
    # Also on the log-in page. Reading an address changes no language.
    path("i18n/setlang/", require_POST(set_language), name="set_language"),
]
handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler429 = errors.too_many
handler500 = errors.broken
