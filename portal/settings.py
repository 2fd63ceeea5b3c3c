"""Every setting of the portal. Few and loud: from the environment, or from a secret file (NAME_FILE).

A setting without a default stops the start with the sentence that mends it.
"""

from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _
from environs import EnvError, FileAwareEnv

from portal import connected_log_ins

BASE_DIR = Path(__file__).resolve().parent.parent
env = FileAwareEnv(strip_whitespace=True)  # an editor ends a secret file with a newline


def needed(name: str, mend: str) -> str:
    """The setting `name`, or a stop that says how to give it."""
    try:
        value = env.str(name)
    except EnvError:
        value = ""
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. {mend} (./dev does this for you.)")
    return value


# ── The site ────────────────────────────────────────────────────────────────
SECRET_KEY = needed(
    "SECRET_KEY",
    "Put 50 random characters into the environment variable SECRET_KEY, or a file's path into SECRET_KEY_FILE.",
)
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", [])
DEBUG = env.bool("DEBUG", False)
SITE_URL = env.str("SITE_URL", "http://127.0.0.1:8000")  # for links in mails
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
CENTRE_NAME = env.str("CENTRE_NAME", "Firefly")  # in the top bar and in mails
HTTPS = SITE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

INSTALLED_APPS = [
    "jobs",
    "accounting",
    "portal",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "django_filters",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "csp",
]
if DEBUG or env.bool("DEVELOPING", False):
    INSTALLED_APPS += ["django_linear_migrations"]  # two branches can't both add a migration unseen

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",  # first and last: between them is what we do
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.accounts.second_factor.SecondFactorMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.counted_requests.CountingMiddleware",
]
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.frame",
                "jobs.context.cluster_state",
            ],
        },
    }
]
OIDC_PROVIDERS = connected_log_ins.read(env.json("OIDC_PROVIDERS", []))  # docs/install.md says what is in it
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],  # Tabler's arrows in form fields are data: images
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        # Chromium holds the way from our button to a connected log-in's own page to this, too.
        "form-action": ["'self'", *connected_log_ins.addresses(OIDC_PROVIDERS)],
        "frame-ancestors": ["'none'"],
    }
}

# ── People ──────────────────────────────────────────────────────────────────
AUTH_USER_MODEL = "portal.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXIES", 0)  # how many of X-Forwarded-For are ours
ACCOUNT_ADAPTER = "portal.accounts.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "add_email": "portal.accounts.forms.AddAddressForm",
    "change_password": "portal.accounts.forms.ChangePasswordForm",
    "login": "portal.accounts.forms.LogInForm",
    "reauthenticate": "portal.accounts.forms.ConfirmForm",
    "reset_password": "portal.accounts.forms.ResetForm",
    "reset_password_from_key": "portal.accounts.forms.ResetByLinkForm",
    "set_password": "portal.accounts.forms.SetPasswordForm",
    "signup": "portal.accounts.forms.SignUpForm",
}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SIGNUP_FORM_CLASS = "portal.forms.newcomers.NewcomerForm"
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_NOTIFICATIONS = True  # what changed about an account is mailed to its person
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True  # in the browser that signed up, and nowhere else
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_MAX_EMAIL_ADDRESSES = 5
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
ACCOUNT_RATE_LIMITS = {  # counted in the cache below
    # A key is an account asked from one address (or, for the second factor, a person): see the adapter.
    "login_failed": "10/15m/key",
    "login": "60/m/ip",
    "signup": "30/h/ip",
    "reset_password": "30/h/ip,5/h/key",
    "reset_password_from_key": "30/h/ip",
    "reauthenticate": "10/15m/user",
    "change_password": "10/15m/user",
}
SOCIALACCOUNT_ADAPTER = "portal.accounts.adapters.ConnectedLogInAdapter"
SOCIALACCOUNT_FORMS = {"signup": "portal.accounts.forms.ConnectedSignUpForm"}
SOCIALACCOUNT_AUTO_SIGNUP = False  # a newcomer looks at name and address first
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": OIDC_PROVIDERS}}
MFA_ADAPTER = "portal.accounts.adapters.SecondFactorAdapter"
MFA_FORMS = {
    "activate_totp": "portal.accounts.forms.ConnectAppForm",
    "authenticate": "portal.accounts.forms.CodeForm",
    "reauthenticate": "portal.accounts.forms.ConfirmWithCodeForm",
    "add_webauthn": "portal.accounts.key_forms.AddKeyForm",
    "authenticate_webauthn": "portal.accounts.key_forms.UseKeyForm",
    "reauthenticate_webauthn": "portal.accounts.key_forms.ConfirmWithKeyForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_ALLOW_UNVERIFIED_EMAIL = True  # of a further address; nobody logs in before the first one is confirmed
MFA_TOTP_ISSUER = CENTRE_NAME
MFA_TOTP_TOLERANCE = 1  # a telephone's clock may be half a minute off
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS
MFA_REQUIRED_ROLES = env.list("MFA_REQUIRED_ROLES", ["staff", "approver", "pi"])

# ── What lasts ──────────────────────────────────────────────────────────────
DATABASES = {"default": env.dj_db_url("DATABASE_URL", f"sqlite:///{BASE_DIR}/.state/demo/db.sqlite3")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A writer waits its turn instead of failing, and takes the lock at the start of its transaction:
    # SQLite has no SELECT … FOR UPDATE, so this is what "lock the allocation row" means there.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
    }
else:
    # Each thread keeps its connection: to make one takes longer than most pages' queries. What it asks again and again
    # is planned once: a list's join of seven tables is planned for ten times as long as it runs (docs/decisions/020).
    DATABASES["default"] |= {
        "CONN_MAX_AGE": 10 * 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": DATABASES["default"].get("OPTIONS", {})
        | {"server_side_binding": True, "prepare_threshold": 5},
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
UPLOAD_ROOT = Path(env.str("UPLOAD_ROOT", f"{BASE_DIR}/.state/demo/uploads"))  # shared by web and worker
UPLOAD_MAX_BYTES = env.int("UPLOAD_MAX_BYTES", 50 * 1024**3)  # one file
UPLOAD_QUOTA_BYTES = env.int("UPLOAD_QUOTA_BYTES", 200 * 1024**3)  # all unsent files of a person
ATTACHMENT_ROOT = Path(
    env.str("ATTACHMENT_ROOT", f"{BASE_DIR}/.state/demo/attachments")
)  # PDFs beside requests
ATTACHMENT_MAX_BYTES = env.int("ATTACHMENT_MAX_BYTES", 10 * 1024**2)
FILE_UPLOAD_HANDLERS = ["accounting.attaching.NoLargerThanAttachments"]  # the only files that come in a form
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024**2  # a form without its files
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000

# Tries to log in are counted here. In the database: all web processes share it, and it is there when Redis is not.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "counted_tries",
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    }
}

# ── Doorbells ───────────────────────────────────────────────────────────────
REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")

# ── Who watches ─────────────────────────────────────────────────────────────
METRICS_TOKEN = env.str("METRICS_TOKEN", "")  # opens /metrics; without one, it is for this machine alone
# Marks by which a slow page is told from a quick one. Each page has its own, and every scrape reads them all.
PROMETHEUS_LATENCY_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, float("inf"))

# ── Clusters: where they are and how to log in; what can be allocated on them is in the database ──
CLUSTERS_FILE = Path(env.str("CLUSTERS_FILE", f"{BASE_DIR}/.state/demo/clusters.toml"))
POSIX_PREFIX = env.str("POSIX_PREFIX", "fp-")  # of the POSIX users that the portal asks a centre to make
JOBS_IN_FLIGHT_PER_PERSON = env.int("JOBS_IN_FLIGHT_PER_PERSON", 500)
# Above these, whoever submits is asked to come back in a moment: jobs that are not sent yet, and the pace of a person.
JOBS_UNSENT_PER_PERSON = env.int("JOBS_UNSENT_PER_PERSON", 500)
JOBS_UNSENT_PER_PROJECT = env.int("JOBS_UNSENT_PER_PROJECT", 2_000)
JOBS_UNSENT_PER_CLUSTER = env.int("JOBS_UNSENT_PER_CLUSTER", 20_000)
SUBMISSIONS_PER_MINUTE = env.int("SUBMISSIONS_PER_MINUTE", 600)

# ── What the browser gets ───────────────────────────────────────────────────
NODE_MODULES = Path(env.str("NODE_MODULES", f"{BASE_DIR}/.state/node/node_modules"))
ICONS_DIR = NODE_MODULES / "@tabler" / "icons" / "icons" / "outline"
TABLER = NODE_MODULES / "@tabler" / "core" / "dist"
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", f"{BASE_DIR}/.state/static"))
STATICFILES_DIRS = [
    *((f"tabler/{part}", TABLER / part) for part in ("css", "js")),  # libs/ names files that it lacks
    ("htmx", NODE_MODULES / "htmx.org" / "dist"),
    ("tus", NODE_MODULES / "tus-js-client" / "dist"),
    ("chartjs", NODE_MODULES / "chart.js" / "dist"),
]
FRONT_END_FILES = {
    "tabler/css/tabler.min.css",  # look and layout
    "tabler/js/tabler.min.js",  # menus, dialogs, tooltips
    "htmx/htmx.min.js",  # parts of a page that update in place
    "tus/tus.min.js",  # uploads that go on after a break
    "chartjs/chart.umd.min.js",  # charts
}
STATICFILES_FINDERS = [
    "portal.front_end.PackageFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True

# ── Words ───────────────────────────────────────────────────────────────────
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LANGUAGE_COOKIE_AGE = 31_536_000  # the choice of a browser, for a year
LOCALE_PATHS = [BASE_DIR / "portal" / "locale"]
FORMAT_MODULE_PATH = ["portal.formats"]  # 30 June 2027, 14:02
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", "UTC")  # how times are shown; they are kept in UTC
USE_THOUSAND_SEPARATOR = False

# ── Mail ────────────────────────────────────────────────────────────────────
_mail = env.dj_email_url("EMAIL_URL", "console:")
if "EMAIL_BACKEND" not in _mail:  # Django would try a server without a name, and no mail would ever arrive
    raise ImproperlyConfigured(
        "EMAIL_URL begins with a word that is not known. Write submission://USER:PASSWORD@HOST for a mail server, "
        "or console: to have mails in the log."
    )
globals().update(_mail)  # EMAIL_BACKEND, EMAIL_HOST, …
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "portal@localhost")

# ── The API ─────────────────────────────────────────────────────────────────
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["portal.parsers.StrictJSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "portal.api.problem_document",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Firefly Portal",
    "DESCRIPTION": "Jobs, GPU-hours and reports of a GPU supercomputer. Amounts are integer GPU-seconds.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {
        "RoleKind": "portal.models.Role",
        "LabRoleKind": "portal.models.people.LAB_ROLE_CHOICES",
        "JobState": "jobs.states.State",
        "FetchState": "jobs.models.Fetch.State",
        "ProjectState": "portal.models.Project.State",
        "RequestState": "accounting.models.AllocationRequest.State",
        "JoinRequestState": "portal.models.JoinRequest.State",
        "TermsKind": "portal.models.Terms.Kind",
        "RequestKind": "accounting.models.AllocationRequest.Kind",
        "UsageRowKind": "accounting.api.usage.ROW_KINDS",
    },
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
}

# ── The log: job, cluster, command; never a key, a token or a file's content ──
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", "INFO")},
    "loggers": {
        "paramiko": {"level": "WARNING"},
        "weasyprint": {"level": "ERROR"},
        "fontTools": {"level": "ERROR"},
    },
}
