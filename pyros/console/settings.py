"""Django's settings, made from the observatory's configuration: there is no settings module to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import django
from django.conf import settings

from pyros.console.console import Console
from pyros.keys import sign

_HERE = Path(__file__).parent
_BUSY_SECONDS = 2.0
SESSION_COOKIE = "pyros_session"
PASS_COOKIE = "pyros_pass"
SESSION_SECONDS = 14 * 86400


def configure(console: Console) -> None:
    """Set Django up in this process, once. `settings.CONSOLE` is the console from then on."""
    prefix = "__Host-" if console.secure else ""
    settings.configure(
        CONSOLE=console,
        DEBUG=False,
        SECRET_KEY=sign(console.secret, "django"),
        ALLOWED_HOSTS=sorted(console.hosts),
        ROOT_URLCONF="pyros.console.urls",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
            "pyros.console.people",
        ],
        MIDDLEWARE=[
            "pyros.console.middleware.passes",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "pyros.console.middleware.CrossSite",
            "django.middleware.http.ConditionalGetMiddleware",
        ],
        TEMPLATES=[{
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [_HERE / "templates"],
            "OPTIONS": {
                "context_processors": ["pyros.console.context.everywhere"],
                "builtins": ["django.templatetags.static", "pyros.console.tags"],
            },
        }],
        DATABASES={"default": _database(console.database)},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        AUTH_USER_MODEL="people.User",
        AUTH_PASSWORD_VALIDATORS=[
            {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
            {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
            {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
             "OPTIONS": {"user_attributes": ("name", "email")}},
        ],
        SESSION_COOKIE_NAME=prefix + SESSION_COOKIE,
        SESSION_COOKIE_AGE=SESSION_SECONDS,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=console.secure,
        CSRF_COOKIE_NAME=prefix + "pyros_csrf",
        CSRF_COOKIE_HTTPONLY=True,
        CSRF_COOKIE_SAMESITE="Lax",
        CSRF_COOKIE_SECURE=console.secure,
        CSRF_FAILURE_VIEW="pyros.console.answers.errors.cross_site",
        PASS_COOKIE_NAME=prefix + PASS_COOKIE,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https") if console.section.behind_proxy else None,
        STATIC_URL="/static/",
        STATICFILES_DIRS=[_HERE / "static"],
        STORAGES={
            "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
            "staticfiles": {"BACKEND": "pyros.console.files.HashedFiles"},
        },
        DATA_UPLOAD_MAX_MEMORY_SIZE=1 << 20,
        DATA_UPLOAD_MAX_NUMBER_FIELDS=200,
        FILE_UPLOAD_HANDLERS=["django.core.files.uploadhandler.MemoryFileUploadHandler"],
        USE_TZ=True,
        TIME_ZONE="UTC",
        USE_I18N=False,
        LOGGING_CONFIG=None,
    )  # fmt: skip
    django.setup()


def _database(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": _BUSY_SECONDS,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
        },
    }
