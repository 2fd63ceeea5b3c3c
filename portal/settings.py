"""Every setting of the portal. Few and loud: from the environment, or from a secret file (NAME_FILE).

A setting without a default stops the start with the sentence that mends it.
"""

from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _
from environs import EnvError, FileAwareEnv

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
    "django_filters",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "csp",
]
if DEBUG or env.bool("DEVELOPING", False):
    INSTALLED_APPS += ["django_linear_migrations"]  # two branches can't both add a migration unseen

MIDDLEWARE = [
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
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
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
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],  # Tabler's arrows in form fields are data: images
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# ── People ──────────────────────────────────────────────────────────────────
AUTH_USER_MODEL = "portal.User"
LOGIN_URL = "login"
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
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
UPLOAD_ROOT = Path(env.str("UPLOAD_ROOT", f"{BASE_DIR}/.state/demo/uploads"))  # shared by web and worker
UPLOAD_MAX_BYTES = env.int("UPLOAD_MAX_BYTES", 50 * 1024**3)  # one file
UPLOAD_QUOTA_BYTES = env.int("UPLOAD_QUOTA_BYTES", 200 * 1024**3)  # all unsent files of a person
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024**2  # a form; files never come this way
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000

# ── Doorbells ───────────────────────────────────────────────────────────────
REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")

# ── Clusters: where they are and how to log in; what can be allocated on them is in the database ──
CLUSTERS_FILE = Path(env.str("CLUSTERS_FILE", f"{BASE_DIR}/.state/demo/clusters.toml"))
POSIX_PREFIX = env.str("POSIX_PREFIX", "fp-")  # of the POSIX users that the portal asks a centre to make
JOBS_IN_FLIGHT_PER_PERSON = env.int("JOBS_IN_FLIGHT_PER_PERSON", 500)

# ── What the browser gets ───────────────────────────────────────────────────
NODE_MODULES = Path(env.str("NODE_MODULES", f"{BASE_DIR}/.state/node/node_modules"))
ICONS_DIR = NODE_MODULES / "@tabler" / "icons" / "icons" / "outline"
TABLER = NODE_MODULES / "@tabler" / "core" / "dist"
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", f"{BASE_DIR}/.state/static"))
STATICFILES_DIRS = [
    *((f"tabler/{part}", TABLER / part) for part in ("css", "img", "js")),  # libs/ names files that it lacks
    ("htmx", NODE_MODULES / "htmx.org" / "dist"),
    ("tus", NODE_MODULES / "tus-js-client" / "dist"),
    ("chartjs", NODE_MODULES / "chart.js" / "dist"),
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
globals().update(env.dj_email_url("EMAIL_URL", "console:"))  # EMAIL_BACKEND, EMAIL_HOST, …
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
        "JobState": "jobs.states.State",
        "FetchState": "jobs.models.Fetch.State",
        "ProjectState": "portal.models.Project.State",
        "RequestState": "accounting.models.AllocationRequest.State",
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
    "loggers": {"paramiko": {"level": "WARNING"}},
}
