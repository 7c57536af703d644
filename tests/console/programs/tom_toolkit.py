"""Drive a console with TOM Toolkit's own OCSFacility: submit by its form, follow, cancel, find and download.

    python tom_toolkit.py URL TOKEN FACILITY_FILE

Runs in an environment that has tomtoolkit, and none of ours. Prints what came of each step as one JSON object.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from importlib import import_module
from typing import Any

URL, TOKEN, FACILITY_FILE = sys.argv[1:4]
APPS = (
    "admin auth contenttypes sessions messages staticfiles sites",
    "django_extensions guardian tom_common django_comments django_bootstrap5 crispy_bootstrap5 crispy_forms"
    " rest_framework rest_framework.authtoken django_filters django_gravatar django_htmx django_tables2 allauth"
    " allauth.account allauth.mfa allauth.usersessions tom_calendar tom_targets tom_alerts tom_catalogs"
    " tom_observations tom_dataproducts tom_dataservices",
)


def set_up() -> None:
    """Make a TOM in memory."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    sys.modules["tom_urls"] = type(sys)("tom_urls")
    sys.modules["tom_urls"].urlpatterns = []  # type: ignore[attr-defined]
    settings.configure(
        SECRET_KEY="x", USE_TZ=True, TIME_ZONE="UTC", ROOT_URLCONF="tom_urls", SITE_ID=1,
        MIDDLEWARE=["allauth.account.middleware.AccountMiddleware"],
        INSTALLED_APPS=[*(f"django.contrib.{name}" for name in APPS[0].split()), *APPS[1].split()],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField", CRISPY_TEMPLATE_PACK="bootstrap5", EXTRA_FIELDS=[],
        TARGET_TYPE="SIDEREAL", TARGET_PERMISSIONS_ONLY=True, AUTH_STRATEGY="READ_ONLY", HOOKS={}, TOM_NAME="tests",
        FACILITIES={"PYROS": {"portal_url": URL, "archive_url": URL, "api_key": TOKEN, "max_instrument_configs": 2,
                              "max_configurations": 2}},
    )  # fmt: skip
    django.setup()
    call_command("migrate", verbosity=0)


def main() -> None:
    set_up()

    requests = import_module("requests")
    form_class = import_module("tom_observations.facilities.ocs").OCSFullObservationForm
    targets = import_module("tom_targets.models").Target.objects
    made = runpy.run_path(FACILITY_FILE)
    facility = made["PyrosFacility"]()
    target = targets.create(name="SN 2026abc", type="SIDEREAL", ra=83.6, dec=22)
    given = {
        "facility": "PYROS", "target_id": target.id, "observation_type": "ALL", "name": "a supernova",
        "proposal": "demo", "ipp_value": 1.05, "observation_mode": "NORMAL", "optimization_type": "TIME",
        "configuration_repeats": 1, "start": "2039-12-01T00:00:00", "end": "2040-02-01T00:00:00",
        "c_1_instrument_type": "CAMERA", "c_1_configuration_type": "EXPOSE", "c_1_max_airmass": 1.6,
        "c_1_min_lunar_distance": 30, "c_1_max_lunar_phase": 0.9, "c_1_ic_1_readout_mode": "default",
        "c_1_ic_1_exposure_count": 2, "c_1_ic_1_exposure_time": 30, "c_1_ic_1_filter": "r",
    }  # fmt: skip
    how: dict[str, Any] = {"facility_settings": made["PyrosSettings"]("PYROS")}
    form = form_class(data=given, initial={"target_id": target.id}, **how)
    form.validate_at_facility = lambda: None  # it looks the facility up by its name among those of a TOM's settings
    form.is_valid()
    payload = form.observation_payload()
    said: dict[str, Any] = {"form": dict(form.errors), "errors": facility.validate_observation(payload)["errors"]}
    (id_,) = facility.submit_observation(payload)
    said["submitted"] = facility.get_observation_status(id_)["state"]
    said["cancelled"] = facility.cancel_observation(id_)
    for _ in range(600):
        said["state"] = facility.get_observation_status(id_)["state"]
        if said["state"] != "PENDING":
            break
        time.sleep(0.1)
    said["frames"] = [each["filename"] for each in facility.data_products("77")]
    (image,) = facility.data_products("77")
    headers = {"Authorization": f"Token {TOKEN}"}
    said["file"] = requests.get(image["url"], headers=headers, timeout=60).content[:30].decode()
    said["telescopes"] = facility.get_facility_status()["sites"]
    try:
        facility.submit_observation(payload | {"operator": "MANY"})
    except Exception as error:
        said["refused"] = str(error)
    print(json.dumps(said))


main()
