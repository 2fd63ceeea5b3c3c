"""The site's map: pages, the log-in, and the API."""

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.http import require_POST
from django.views.i18n import set_language
from drf_spectacular.views import SpectacularAPIView

from jobs.views import home
from portal import views
from portal.forms import LogInForm

api: list[URLPattern | URLResolver] = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("", include("accounting.api")),
    path("", include("jobs.api")),
]
pages = [
    path("people/", views.people, name="people"),
]
urlpatterns = [
    path("", home.home, name="home"),
    path("", include((pages, "portal"))),
    path("", include("accounting.urls")),
    path("jobs/", include("jobs.urls")),
    path("api/v1/", include((api, "v1"))),
    path("accounts/login/", LoginView.as_view(authentication_form=LogInForm), name="login"),
    path("accounts/", include("django.contrib.auth.urls")),
    # Also on the log-in page. Reading an address changes no language.
    path("i18n/setlang/", login_not_required(require_POST(set_language)), name="set_language"),
]
handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.broken
