"""Settings, all from the environment; with DJANGO_DEBUG=1 alone everything has a local default."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from mysite.security import content_security_policy, origin

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = os.environ.get("DJANGO_DEBUG") == "1"


def required(name: str, fix: str, *, default: str | None = None) -> str:
    """Value of an environment variable; `default` stands in for it in local development only."""
    value = os.environ.get(name) or (default if DEBUG else None)
    if value is None:
        raise ImproperlyConfigured(f"{name}: must be set unless DJANGO_DEBUG=1, got nothing; {fix}")
    return value


def listed(name: str) -> list[str]:
    """Items of a comma-separated environment variable."""
    return [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()]


SECRET_KEY = required("SECRET_KEY", "set it to 50 or more random characters", default="local-development-only")
ALLOWED_HOSTS = listed("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = listed("CSRF_TRUSTED_ORIGINS")

ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"

INSTALLED_APPS = [
    "polls",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "mysite.security.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "mysite" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Seconds to wait for a connection.
DATABASE_CONNECT_TIMEOUT = 3

DATABASES = {
    "default": dj_database_url.parse(
        required(
            "DATABASE_URL",
            "set it to postgres://user:password@host:port/name?sslmode=verify-full&sslrootcert=file",
            default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}",
        ),
        # A new connection through the pool costs a TLS and a SCRAM handshake: more than a page's queries.
        conn_max_age=60,
        conn_health_checks=True,
        # In transaction mode the next statement may meet another backend, which does not know the cursor:
        # https://docs.djangoproject.com/en/5.2/ref/databases/#transaction-pooling-server-side-cursors
        disable_server_side_cursors=True,
    ),
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", DATABASE_CONNECT_TIMEOUT)

STATIC_URL = os.environ.get("STATIC_URL", "/static/")
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT") or BASE_DIR / "staticfiles")

# Used only when no bucket is configured.
MEDIA_URL = "/media/"
MEDIA_ROOT = BASE_DIR / "media"

MEDIA_BUCKET = os.environ.get("AWS_STORAGE_BUCKET_NAME", "")
MEDIA_ORIGIN = ""

STORAGES: dict[str, dict[str, object]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        # Hashed names, so that a file can be cached for ever; the manifest stays in STATIC_ROOT, with its release.
        # Whoever serves STATIC_URL gets the files from there. In development names stay as they are.
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    },
}
if MEDIA_BUCKET:
    endpoint = os.environ.get("AWS_S3_ENDPOINT_URL", "")
    if not urlsplit(endpoint).hostname:
        raise ImproperlyConfigured(
            "AWS_S3_ENDPOINT_URL: must be a URL when AWS_STORAGE_BUCKET_NAME is set, "
            f'got "{endpoint}"; set it to https://<region>.digitaloceanspaces.com',
        )
    MEDIA_ORIGIN = origin(endpoint).replace("://", f"://{MEDIA_BUCKET}.", 1)
    STORAGES["default"] = {
        "BACKEND": "mysite.media.PrivateMediaStorage",
        # AWS_S3_CUSTOM_DOMAIN is the CDN of the static files; it plays no part here, since media are never public.
        "OPTIONS": {
            "bucket_name": MEDIA_BUCKET,
            "endpoint_url": endpoint,
            "region_name": os.environ.get("AWS_S3_REGION_NAME"),
        },
    }

# Nginx overwrites the header on every request, so that nobody else can set it.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_HTTPONLY = True  # forms carry the token; no script of ours reads it
SILENCED_SYSTEM_CHECKS = [
    "security.W004",  # HSTS is said once, by Nginx
    "security.W008",  # the redirect to https is Nginx's
]
CONTENT_SECURITY_POLICY = content_security_policy(static=origin(STATIC_URL), media=MEDIA_ORIGIN)

# To stderr, where the journal picks it up and adds the time. `disable_existing_loggers` would silence Gunicorn.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        # Django's own configuration mails errors to ADMINS and is quiet otherwise.
        "django": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        # The development server logs requests in its own colours.
        "django.server": {"level": "INFO", "propagate": False},
    },
}
