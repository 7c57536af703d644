from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pyros.errors import SimulatorError
from pyros.simulators import Description, load
from pyros.simulators.camera.settings import CameraSettings
from pyros.simulators.celestial import SiteCoordinates
from pyros.simulators.devices.weather import WeatherSettings
from pyros.simulators.mount.settings import TelescopeSettings, each

DEMO = Path(__file__).parents[2] / "observatory" / "simulators"


def test_the_demo() -> None:
    telescope, camera, dome, weather = (
        load(DEMO / f"{name}.yaml") for name in ("telescope", "camera", "dome", "weather")
    )
    assert telescope.site == SiteCoordinates(43.9308, 5.7133)
    assert isinstance(telescope.settings, TelescopeSettings)
    assert isinstance(camera.settings, CameraSettings)
    assert list(camera.settings.filters) == ["g", "r", "i"]
    assert [device.listen for device in (telescope, camera, dome, weather)] == [
        f"tcp:{port}:interface=127.0.0.1" for port in (6010, 6011, 6012, 6013)
    ]
    assert (dome.device, dome.name, dome.speed) == ("dome", "Demo dome", 10)
    longest = 180 / each(telescope.settings.slew_rate)[0] + telescope.settings.settle
    assert longest / telescope.speed < 4
    assert 0.3 < camera.settings.width * camera.settings.arcsec_per_pixel / 3600 < 0.5


def test_the_script_in_the_demos_comment_is_right(tmp_path: Path) -> None:
    text = (DEMO / "weather.yaml").read_text()
    start = text.index("# climate:")
    path = tmp_path / "weather.yaml"
    path.write_text(text[:start] + text[start:].replace("# ", ""))
    settings = load(path).settings
    assert isinstance(settings, WeatherSettings)
    assert [change.at for change in settings.climate] == [600, 700, 1500]


def test_the_faults_in_the_demos_comment_are_right(tmp_path: Path) -> None:
    text = (DEMO / "dome.yaml").read_text()
    start = text.index("# faults:")
    path = tmp_path / "dome.yaml"
    path.write_text(text[:start] + text[start : text.index("# Or live")].replace("# ", "", 1).replace("\n#  ", "\n "))
    assert [fault.kind for fault in load(path).settings.faults] == ["stuck", "no_answer", "drop"]


def changed(tmp_path: Path, file: str, /, **keys: Any) -> Path:
    """Write a demo file with some keys set, or (None) left out."""
    data = yaml.safe_load((DEMO / f"{file}.yaml").read_text())
    data = {key: value for key, value in {**data, **keys}.items() if value is not None}
    (tmp_path / "simulators").mkdir(exist_ok=True)
    (tmp_path / "site.yaml").write_text((DEMO.parent / "site.yaml").read_text())
    path = tmp_path / "simulators" / f"{file}.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


_RATE = "slew_rate: must be degrees per second, above 0, at most 360, one number or one for each axis such as [4, 3]"


@pytest.mark.parametrize(
    ("device", "keys", "complaint"),
    [
        (
            "telescope",
            {"device": "telescop"},
            "device: must be one of telescope, camera, dome, weather, filter_wheel, focuser, ",
        ),
        ("telescope", {"device": None}, "device: must be one of telescope, camera, dome"),
        ("telescope", {"slewrate": 3}, "slewrate: there is no such key; did you mean slew_rate?"),
        ("telescope", {"zzz": 3}, "zzz: there is no such key; the keys are device, name, listen"),
        ("telescope", {"slew_rate": None}, "slew_rate: is missing; it must be degrees per second, above 0"),
        ("telescope", {"slew_rate": "fast"}, f"{_RATE}, not 'fast'"),
        ("telescope", {"slew_rate": [4]}, f"{_RATE}, not [4] (Expected `array` of length >= 2)"),
        ("telescope", {"slew_rate": [4, 0]}, f"{_RATE}, not [4, 0] (Expected `float` > 0.0 - at `$[1]`)"),
        (
            "telescope",
            {"slew_acceleration": [4, float("inf")]},
            "slew_acceleration: must be degrees per second squared",
        ),
        ("telescope", {"mount": "dobsonian"}, "mount: must be equatorial (a fork), german, or altazimuth"),
        ("telescope", {"horizon": [[0, 15], [400, 3]]}, "horizon: must be a list of [azimuth, altitude] in degrees"),
        (
            "telescope",
            {"pointing_terms": {"IA": 3}},
            "pointing_terms: equatorial mounts have IH, ID, CH, NP, MA, ME, TF",
        ),
        ("telescope", {"pointing_terms": {"IH": 1e9}}, "pointing_terms: must be pointing terms in arcseconds"),
        ("telescope", {"tracking_error": {"wobble": 3}}, "tracking_error: must be such as {amplitude: 6, period: 480"),
        ("telescope", {"slew_rate": 0}, "slew_rate: must be degrees per second"),
        ("telescope", {"slew_rate": float("nan")}, "slew_rate: must be degrees per second"),
        ("telescope", {"altitude_limit": 100}, "altitude_limit: must be degrees, -90 to 90, not 100"),
        ("telescope", {"park_azimuth": 360}, "park_azimuth: must be degrees, 0 to 360 (360 itself excluded), not 360"),
        ("telescope", {"parked": "maybe"}, "parked: must be true or false"),
        ("telescope", {"name": "two\nlines"}, "name: must be one line"),
        ("telescope", {"speed": -1}, "speed: must be how many times faster"),
        ("telescope", {"seed": 1.5}, "seed: must be a whole number"),
        ("telescope", {"listen": "6010"}, "listen: must be a server endpoint such as tcp:6010:interface=127.0.0.1"),
        ("telescope", {"listen": "tcp:99999"}, "listen: must be a server endpoint"),
        ("telescope", {"listen": "tcp:6010:interfac=x"}, "listen: must be a server endpoint"),
        ("telescope", {"site": "../nowhere.yaml"}, "site: there is no file"),
        ("telescope", {"site": None}, "site: is missing; it must be the site's YAML file"),
        ("camera", {"telescope": "127.0.0.1"}, "telescope: must be an address such as tcp:127.0.0.1:6010"),
        ("camera", {"filters": {}}, "filters: must be each filter's name and its throughput"),
        ("camera", {"filters": {"a b": 1}}, "filters: must be each filter's name"),
        ("camera", {"filters": ["r"]}, "filters: must be each filter's name"),
        ("camera", {"width": 1e9}, "width: must be pixels, 16 to 8192"),
        ("camera", {"arcsec_per_pixel": 60}, "arcsec_per_pixel: the field is wider than 5 degrees"),
        ("camera", {"saturation": 500}, "saturation: must be above the bias of 1000 ADU, not 500"),
        ("dome", {"travel": 0}, "travel: must be seconds from closed to open, above 0, not 0"),
        ("dome", {"rotation_rate": 0}, "rotation_rate: must be degrees per second, above 0, at most 360, or null for"),
        ("dome", {"azimuth": 20}, "azimuth: without a rotation_rate it is a roof"),
        ("filter_wheel", {"filters": ["g", "r", "g"]}, "filters: g stands there twice"),
        ("filter_wheel", {"filters": []}, "filters: must be the filters' names in their order, such as [g, r, i]"),
        ("focuser", {"limits": [5, 5]}, "limits: the least position must be below the greatest, not 5 and 5"),
        ("focuser", {"position": 60000}, "position: must be within the limits of 0 to 50000, not 60000"),
        ("focuser", {"best_focus": 1.5}, "best_focus: must be steps, a whole number, not 1.5"),
        ("focuser", {"temperature": "cold"}, "temperature: must be degrees Celsius, -90 to 60, or null for no sensor"),
        ("safety", {"script": [{"at": 5, "safe": 1}]}, "script: must be a list of steps such as [{at: 600, safe:"),
        (
            "safety",
            {"script": [{"at": 5, "safe": True}, {"at": 3, "safe": False}]},
            "script: the steps must stand in the order of their times",
        ),
        ("switch", {"channels": [{"name": "a b"}]}, "channels: must be a list such as [{name: lamp}"),
        ("switch", {"channels": [{"name": "a"}, {"name": "a"}]}, "channels: a stands there twice"),
        ("switch", {"channels": [{"name": "a", "level": 0.5}]}, "channels: a: level must be 0 to 1 in steps of 1"),
        ("switch", {"channels": [{"name": "a", "most": 0}]}, "channels: a: least must be below most"),
        ("dome", {"faults": [{"kind": "explode"}]}, "faults: must be a list such as [{kind: no_answer, at: 600"),
        ("dome", {"faults": [{"kind": "drop", "fro": 3}]}, "faults: must be a list such as [{kind: no_answer, at: 600"),
        ("dome", {"faults": [{"kind": "no_image"}]}, "faults: a dome cannot have no_image, only no_answer, late_ans"),
        ("weather", {"rain": 2}, "rain: must be 0 or 1, not 2"),
        ("weather", {"noise": {"snow": 1}}, "noise: must be such as {temperature: 0.2"),
        ("weather", {"climate": [{"rain": 1}]}, "climate: must be a list of steps such as [{at: 600, rain: 1}"),
        ("weather", {"climate": [{"at": 5, "rain": 7}]}, "climate: must be a list of steps"),
        ("weather", {"climate": [{"at": 5}, {"at": 3}]}, "climate: the steps must stand in the order of their times"),
    ],
)
def test_mistakes_name_file_and_key_and_what_is_right(
    tmp_path: Path, device: str, keys: dict[str, Any], complaint: str
) -> None:
    path = changed(tmp_path, device, **keys)
    with pytest.raises(SimulatorError) as error:
        load(path)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{path}: {complaint}")


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    path = changed(tmp_path, "telescope", name=None, slew_rate="x", listen="nowhere", colour="red", site="no.yaml")
    with pytest.raises(SimulatorError) as error:
        load(path)
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert [line.removeprefix(f"{path}: ").split(":")[0] for line in lines] == [
        "colour",
        "name",
        "slew_rate",
        "listen",
        "site",
    ]


def test_mistakes_in_the_sites_file_name_both_files(tmp_path: Path) -> None:
    path = changed(tmp_path, "telescope")
    (tmp_path / "site.yaml").write_text("name: X\nlatitude: 95\nlongitude: 5\n")
    with pytest.raises(SimulatorError) as error:
        load(path)
    first, second = str(error.value).splitlines()
    assert first.startswith(f"{path}: site: ")
    assert first.endswith("site.yaml: latitude: must be a number from -90 to 90 (degrees), not 95")
    assert second.endswith("site.yaml: elevation: must be a number from -500 to 9000 (metres)")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "must hold keys and values"),
        (b"- a\n- b\n", "must hold keys and values"),
        (b"a: [\n", "line 2: is not YAML"),
        (b"a: \xff\n", "is not UTF-8"),
        (b"a: !!python/object:os.system x\n", "line 1: is not YAML"),
        (b"[" * 1100, "is not YAML"),
        (b"a: 2026-99-99\n", "is not YAML"),
        (b"? [a]\n: b\n", "line 1: is not YAML"),
        (b"a: " + b"x" * 1_100_000, "is larger than 1000000 bytes"),
    ],
)
def test_what_is_no_description_at_all(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "device.yaml"
    path.write_bytes(content)
    with pytest.raises(SimulatorError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: {complaint}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="cannot be read: No such file"):
        load(tmp_path / "x.yaml")
    with pytest.raises(SimulatorError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_changed_makes_a_copy() -> None:
    one = load(DEMO / "dome.yaml")
    other = one.changed(speed=3, listen="tcp:0")
    assert isinstance(other, Description)
    assert (other.speed, other.listen, one.speed) == (3, "tcp:0", 10)
