"""The images as the Virtual Observatory finds them: pyvo searches a small page, and downloads what it has found."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits, votable
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from pyros.imagery import obscore
from pyros.imagery.index import ImageIndex, ImageIndexReader, ImageQuery
from pyros.imagery.reading import read_record
from pyros.imagery.sia2 import CONTENT_TYPE, answer, read_query
from tests.imagery.test_image_index import STARTED, picture
from tests.web import WebAnswer, WebRequest, web_server


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageIndexReader]:
    folder = tmp_path_factory.mktemp("sia")
    paths = [
        picture(folder / "crab.fits", telescope="60 cm Newton", instrument="ASI 1600"),
        picture(folder / "later.fits", ra=83.9, number=900, object="near M 1"),
        picture(folder / "elsewhere.fits", ra=200.0, dec=-30.0, number=2, object="NGC 1"),
        picture(folder / "dark.fits", image_type="DARK", number=3),
    ]
    index = ImageIndex(folder / "images.sqlite")
    index.add(read_record(path, None) for path in paths)
    index.close()
    made = ImageIndexReader(folder / "images.sqlite")
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(reader: ImageIndexReader) -> Iterator[str]:
    """Serve SIA2 and the files, as the console does."""

    base = ""

    def page(request: WebRequest) -> WebAnswer:
        parts = urlsplit(request.path)
        if parts.path == "/sia2/query":
            asked = parse_qs(parts.query, keep_blank_values=True)
            code, content = answer(reader, asked, base=f"{base}/files/", collection="demo")
            return WebAnswer(content, code, {"Content-Type": CONTENT_TYPE})
        record = reader.get(int(parts.path.rpartition("/")[2]))
        assert record is not None
        return WebAnswer(Path(record.path).read_bytes(), headers={"Content-Type": "image/fits"})

    with web_server(page) as port:
        base = f"http://127.0.0.1:{port}"
        yield base


@pytest.mark.filterwarnings("default")  # pyvo's own
def test_pyvo_finds_an_image_and_downloads_it(url: str) -> None:
    sia2 = pytest.importorskip("pyvo.dal.sia2")
    query = sia2.SIA2Query(f"{url}/sia2/query", pos=(SkyCoord(83.6 * u.deg, 22.0 * u.deg), 0.01 * u.deg))
    found = query.execute()
    assert {row["target_name"] for row in found} == {"M 1", "near M 1"}
    (row,) = [row for row in found if row["target_name"] == "M 1"]
    assert (row["s_ra"], row["s_dec"]) == pytest.approx((83.6, 22.0), abs=1e-9)
    assert row.access_format == "image/fits"
    assert row["facility_name"] == "60 cm Newton"
    assert Time(row["t_min"], format="mjd").unix == pytest.approx(STARTED + 100, abs=0.01)
    assert row.getdataurl() == row["access_url"]
    with fits.open(io.BytesIO(row.getdataset().read())) as units:
        assert units[0].header["OBJECT"] == "M 1"
        assert units[0].data.shape == (32, 48)


def rows(reader: ImageIndexReader, **parameters: Any) -> list[str]:
    given = {name: each if isinstance(each, list) else [each] for name, each in parameters.items()}
    code, content = answer(reader, given, base="https://x/", collection="demo")
    assert code == 200, content
    table = votable.parse(io.BytesIO(content)).get_first_table().to_table()
    return sorted(str(name) for name in table["target_name"])


@pytest.mark.filterwarnings("default")
def test_every_parameter_selects(reader: ImageIndexReader) -> None:
    mjd = f"{STARTED / 86400 + 40587:.6f}"
    every = ["M 1", "NGC 1", "near M 1"]
    assert rows(reader) == every
    assert rows(reader, pos="CIRCLE 200 -30 0.1") == ["NGC 1"]
    assert rows(reader, POS=["CIRCLE 200 -30 0.1", "CIRCLE 83.6 22 0.01"]) == every
    assert rows(reader, POS="RANGE 199 201 -31 -29") == ["NGC 1"]
    assert rows(reader, POS="POLYGON 199 -31 201 -31 200 -29") == ["NGC 1"]
    assert rows(reader, TIME=f"{mjd} {float(mjd) + 0.01}") == ["M 1", "NGC 1"]
    assert rows(reader, TIME="-Inf 50000") == []
    assert rows(reader, BAND="6e-7") == every
    assert rows(reader, BAND="1e-3 +Inf") == []
    assert rows(reader, EXPTIME="10 59") == []
    assert rows(reader, TARGET="NGC 1") == ["NGC 1"]
    assert rows(reader, INSTRUMENT="ASI 1600") == ["M 1"]
    assert rows(reader, COLLECTION="other") == []
    assert rows(reader, DPTYPE="cube") == []
    assert rows(reader, POL="I") == []
    assert rows(reader, FOV="0.5 1.5", FORMAT="image/fits", CALIB="1", nothing="x") == every
    assert rows(reader, ID="https://x/1") == ["M 1"]
    assert rows(reader, MAXREC="0") == []


@pytest.mark.filterwarnings("default")
def test_a_cut_answer_and_a_wrong_question_say_so(reader: ImageIndexReader) -> None:
    _, cut = answer(reader, {"MAXREC": ["1"]}, base="https://x/", collection="demo")
    assert b'value="OVERFLOW"' in cut
    code, wrong = answer(reader, {"POS": ["CIRCLE 83.6 <b>"]}, base="https://x/", collection="demo")
    assert code == 400
    assert b'value="ERROR"' in wrong
    assert b"UsageFault: POS: " in wrong
    assert b"<b>" not in wrong


def test_the_columns_of_obscore_are_valid(reader: ImageIndexReader) -> None:
    _, content = answer(reader, {}, base="https://x/", collection="demo")
    table = votable.parse(io.BytesIO(content), verify="exception").get_first_table().to_table()
    (row,) = [row for row in table if row["target_name"] == "M 1"]
    assert str(row["s_region"]).startswith("POLYGON ICRS ")
    assert np.ma.is_masked(row["s_resolution"]) or np.isnan(row["s_resolution"])
    assert row["s_xel1"] == 48


_words = st.sampled_from(["CIRCLE", "RANGE", "POLYGON", "1", "-Inf", "+Inf", "nan", "83.6", "1e400", "-91", "x", ""])


def shown(value: object) -> str:
    """Return a value of a table as text, the same for every way of saying that it isn't known."""
    return "" if np.ma.is_masked(value) or str(value) == "nan" else str(value)


def test_the_export_has_the_rows_and_columns_of_an_answer(reader: ImageIndexReader) -> None:
    query = ImageQuery(type="LIGHT")
    text = "".join(obscore.votable(obscore.found(reader, query), "http://x/", "demo"))
    exported = votable.parse(io.BytesIO(text.encode()), verify="exception").get_first_table().to_table()
    _, answered = answer(reader, {}, base="http://x/", collection="demo")
    same = votable.parse(io.BytesIO(answered)).get_first_table().to_table()
    assert exported.colnames == same.colnames
    assert len(exported) == 3
    for name in same.colnames:
        one, other = exported[name], same[name]
        assert [shown(each) for each in one] == [shown(each) for each in other], name
        assert (one.unit, one.meta.get("utype")) == (other.unit, other.meta.get("utype"))
    lines = list(csv.DictReader(io.StringIO("".join(obscore.table(obscore.found(reader, query), "http://x/", "demo")))))
    assert [each["target_name"] for each in lines] == [str(each) for each in exported["target_name"]]
    assert float(lines[0]["s_ra"]) == exported["s_ra"][0]


@given(st.dictionaries(
    st.sampled_from(["POS", "TIME", "BAND", "MAXREC", "FOV", "ID", "EXPTIME", "RESPONSEFORMAT", "TARGET", "x"]),
    st.lists(st.lists(_words, max_size=7).map(" ".join) | st.text(max_size=20), max_size=3),
))  # fmt: skip
def test_whatever_is_asked_is_understood_or_refused(reader: ImageIndexReader, parameters: dict[str, list[str]]) -> None:
    code, _ = answer(reader, parameters, base="https://x/", collection="demo")
    assert code in (200, 400)
    if code == 400:
        with pytest.raises(ValueError, match=r"^(POS|TIME|BAND|MAXREC|FOV|EXPTIME|RESPONSEFORMAT): "):
            read_query(parameters)
