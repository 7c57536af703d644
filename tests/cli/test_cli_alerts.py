"""``pyros alerts`` and ``pyros rules``: packets understood, imported, found, explained and exported."""

from __future__ import annotations

import gzip
import io
import json
import os
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pyros.alerts.archive.archive import Archive, Packet
from pyros.alerts.rules import decisions
from pyros.alerts.rules.conditions import ConditionResult
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.alerts.rules.rules import Considered
from pyros.cli.alerts import export_packets, import_packets
from pyros.cli.alerts import tar as tar_module
from pyros.config import Config
from pyros.journal import Effects, Journal
from tests.builders import voevent
from tests.cli.conftest import fails, run

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "alerts" / "samples"
CORPUS = ROOT.parent / "shared" / "corpus"


def packet(name: str, date: str = "2026-03-20T23:00:00", *, ra: float = 10, error: float = 0.1, text: str = "burst",
           role: str = "observation", cites: tuple[str, str] | None = None) -> bytes:  # fmt: skip
    citations = [(cites[1], f"ivo://a/b#{cites[0]}")] if cites else []
    return voevent(
        f"ivo://a/b#{name}", role=role, date=date, ra=ra, error=error, text=text, citations=citations
    )  # fmt: skip


def lines(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


FILLED = [
    packet("one", "2026-03-20T23:00:00", text="a bright one"),
    packet("better", "2026-03-20T23:05:00", ra=10.01, error=0.001, cites=("one", "followup")),
    packet("gone", "2026-03-21T01:00:00", cites=("one", "retraction")),
    packet("other", "2026-04-02T00:00:00", ra=200, text="a faint one"),
    packet("test", "2026-04-03T00:00:00", ra=201, role="test"),
]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive.sqlite"
    archive = Archive(path)
    archive.store([Packet(each, "a test") for each in FILLED])
    archive.close()
    return path


# parse


def test_parse_gives_one_object_a_packet() -> None:
    result = run("alerts", "parse", SAMPLES / "burst.xml", SAMPLES / "gravitational_wave.json", "--json")
    burst, wave = lines(result)
    assert list(burst) == [
        "file", "stream", "id", "ivorn", "role", "kind", "event", "notice_type", "time", "ra", "dec", "error_radius",
        "containment", "skymap", "importance", "far", "pointing",
        "known_source", "significant", "classification", "instruments", "group", "pipeline", "search", "measured",
        "names", "related", "citations",
    ]  # fmt: skip
    assert burst["file"] == str(SAMPLES / "burst.xml")
    assert burst["time"].endswith("Z")
    assert wave["ivorn"] is None
    assert wave["stream"] == "lvc"


def test_parse_tells_every_error_and_shows_the_rest(tmp_path: Path) -> None:
    (tmp_path / "bad.xml").write_bytes(b"<a/>")
    arguments: list[str | Path] = [
        "alerts",
        "parse",
        tmp_path / "bad.xml",
        SAMPLES / "burst.xml",
        tmp_path / "none",
        tmp_path,
    ]
    result = run(*arguments, "--json")
    assert result.exit_code == 1
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert ["error" in each for each in found] == [True, False, True, True]
    assert set(found[0]) == {"file", "error"}
    assert found[2]["error"] == "cannot be read: No such file or directory"
    assert found[3]["error"] == "cannot be read: Is a directory"
    result = run(*arguments)
    assert result.exit_code == 1
    assert "pyros: " in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_parse_reads_standard_input() -> None:
    (found,) = lines(run("alerts", "parse", "-", "--json", stdin=packet("x", cites=("y", "supersedes"))))
    assert found["file"] == "-"
    assert found["citations"] == [{"ivorn": "ivo://a/b#y", "cite": "supersedes"}]
    assert found["time"] == "2026-03-20T23:00:00Z"


def test_parse_needs_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYROS_AGENT_CONFIG", str(tmp_path / "none.ini"))
    assert run("alerts", "parse", SAMPLES / "burst.xml").exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus of real packets at {CORPUS}")
def test_parse_takes_the_whole_corpus_at_once() -> None:
    files = sorted(path for path in CORPUS.rglob("*") if path.is_file())
    result = run("alerts", "parse", "--json", *files)
    assert result.exit_code == 1, "some are bad on purpose"
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["file"] for each in found] == [str(file) for file in files]
    assert sum("error" in each for each in found) < len(files) / 5


# list, search, show


def test_list_and_search(archive: Path) -> None:
    where = ("--archive", archive, "--json")
    assert [each["id"][-4:] for each in lines(run("alerts", "list", *where, "--last", "2"))] == ["ther", "test"]
    assert len(lines(run("alerts", "list", *where, "--role", "test"))) == 1
    assert len(lines(run("alerts", "list", *where, "--kind", "retraction", "--kind", "update"))) == 2
    march = lines(run("alerts", "list", *where, "--until", "2026-04-01"))
    assert [each["received"] for each in march] == [
        "2026-03-20T23:00:00Z", "2026-03-20T23:05:00Z", "2026-03-21T01:00:00Z",
    ]  # fmt: skip
    assert [each["id"] for each in lines(run("alerts", "search", "a", "faint", *where))] == ["ivo://a/b#other"]
    near = lines(run("alerts", "search", "--cone", "200.5, 20, 30 arcmin", *where))
    assert [each["id"] for each in near] == ["ivo://a/b#other", "ivo://a/b#test"]
    table = run("alerts", "search", "bright", "--archive", archive)
    assert "ivo://a/b#one" in table.stdout
    assert run("alerts", "search", "nowhere", "--archive", archive).stdout == "no packets\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["search"], "say what to search for"),
        (["search", "--cone", "400 0 1"], "is no cone like"),
        (["search", "--cone", "1 2 3 parsec"], "is no cone like"),
        (["search", "? !"], "has no word to search for"),
        (["list", "--since", "yesterday"], "is no date like"),
        (["list", "--role", "king"], "must be one of observation, prediction, utility, test"),
        (["show", "nothing"], "no such event or packet"),
        (["show", "77"], "no such event or packet"),
        (["show", "ivo://a/b#one", "--raw"], "has 3 packets; name one by its number: 1, 2, 3"),
    ],
)
def test_mistakes_are_told_in_one_line(archive: Path, arguments: list[str], told: str) -> None:
    result = run("alerts", *arguments, "--archive", archive)
    assert result.exit_code != 0
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.output


def test_without_an_archive_it_says_so(config: Config) -> None:
    result = run("alerts", "list", "--config", config.path)
    assert result.exit_code == 1
    assert result.stderr == f"pyros: {config.alert_archive}: no such archive (no packet has been archived here yet)\n"


def test_show_tells_what_each_packet_changed(archive: Path) -> None:
    shown = run("alerts", "show", "ivo://a/b#better", "--archive", archive).stdout.splitlines()
    assert shown[0] == "event        ivo://a/b#one"
    assert "retracted    yes" in shown
    changes = [line for line in shown if line.startswith("2026")]
    assert ["first position, 6 arcmin" in changes[0], "better position, 3.6 arcsec" in changes[1],
            "retracted" in changes[2]] == [True, True, True]  # fmt: skip
    assert len(lines(run("alerts", "show", "1", "--archive", archive, "--json"))) == 3
    assert run("alerts", "show", "2", "--raw", "--archive", archive).stdout_bytes == FILLED[1]


# import and export


def tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for member, content in members:
            member.size = len(content)
            file.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return path


@pytest.mark.parametrize(
    ("suffix", "mode"), [("tar", "w"), ("tar.gz", "w:gz"), ("tar.bz2", "w:bz2"), ("tar.xz", "w:xz")]
)
def test_import_from_tar_files(tmp_path: Path, suffix: str, mode: str) -> None:
    members = [(tarfile.TarInfo(f"{number}.xml"), each) for number, each in enumerate(FILLED)]
    file = tar(tmp_path / f"old.{suffix}", [*members, (tarfile.TarInfo("README"), b"hello")], mode)
    archive = tmp_path / "new.sqlite"
    result = run("alerts", "import", file, "--archive", archive)
    assert result.exit_code == 0
    assert result.stdout == f"{file}: 5 new, 0 known already, 1 skipped (no alerts)\n"
    again = run("alerts", "import", file, "--archive", archive)
    assert again.stdout == f"{file}: 0 new, 5 known already, 1 skipped (no alerts)\n"
    assert lines(run("alerts", "list", "--archive", archive, "--json"))[0]["source"] == f"import old.{suffix}: 0.xml"


def test_hostile_members_touch_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    link, device, long = tarfile.TarInfo("link"), tarfile.TarInfo("dev"), tarfile.TarInfo("x" * 5000)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device.type = tarfile.CHRTYPE
    members = [
        (tarfile.TarInfo("../../escaped.xml"), FILLED[0]), (tarfile.TarInfo(str(tmp_path / "absolute.xml")), FILLED[1]),
        (tarfile.TarInfo("line\nbreak\x1b[31m.xml"), FILLED[2]), (link, b""), (device, b""), (long, FILLED[3]),
    ]  # fmt: skip
    file = tar(folder / "hostile.tar", members)
    before = sorted(tmp_path.rglob("*"))
    result = run("alerts", "import", file, "--archive", tmp_path / "a.sqlite")
    assert "4 new" in result.stdout
    assert {path.name for path in set(tmp_path.rglob("*")) - set(before)} <= {
        "a.sqlite", "a.lock", "a.sqlite-wal", "a.sqlite-shm",
    }  # fmt: skip
    sources = [each["source"] for each in lines(run("alerts", "list", "--archive", tmp_path / "a.sqlite", "--json"))]
    assert all(source.isprintable() and len(source) < 300 for source in sources)
    assert any("line?break?[31m.xml" in source for source in sources)


def test_a_tar_file_that_is_cut_gives_what_it_has(tmp_path: Path) -> None:
    members = [(tarfile.TarInfo(f"{number}.xml"), each) for number, each in enumerate(FILLED)]
    whole = tar(tmp_path / "whole.tar", members).read_bytes()
    for name, content in {"cut.tar": whole[:4000], "cut.tar.gz": gzip.compress(whole)[:-500]}.items():
        (tmp_path / name).write_bytes(content)
        result = run("alerts", "import", tmp_path / name, "--archive", tmp_path / f"{name}.sqlite")
        assert result.exit_code == 1
        assert f"pyros: {tmp_path / name}: cannot be read to its end: " in result.stderr
        assert "new, 0 known already" in result.stdout


def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**40
    (tmp_path / "bomb.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + b"x" * 2000)
    fails(
        ["alerts", "import", tmp_path / "bomb.tar", "--archive", tmp_path / "a.sqlite"],
        "a header of 1099511627776 bytes",
    )


def damaged(whole: bytes) -> dict[str, tuple[bytes, str]]:
    """Ways to lose the second half of a tar file, and what is told of each."""
    middle = whole.index(b"3.xml")
    header = tarfile.TarInfo("x" * 300).tobuf(tarfile.GNU_FORMAT)[:1024]
    settings = tarfile.TarInfo.create_pax_global_header
    globals_ = b"".join(
        settings({f"k{number}": "v" * 600_000}) + tarfile.TarInfo(f"{number}").tobuf() for number in range(2)
    )
    return {
        "a header that is not one": (whole[:middle] + b"4" + whole[middle + 1 :], "bad checksum"),
        "cut in a header": (whole[: middle + 100], "truncated header"),
        "cut between members": (whole[:middle], "it ends without the mark of its end"),
        "cut while packed": (gzip.compress(whole)[:-500], "end-of-stream marker"),
        "headers upon headers": (whole[:middle] + 2000 * header, "hundreds of headers"),
        "headers at once": (2000 * header, "hundreds of headers"),
        "settings for all": (whole[:middle] + globals_, "headers of megabytes"),
    }


@pytest.mark.parametrize("how", damaged(b"3.xml"))
def test_what_is_missing_of_a_tar_file_is_told(tmp_path: Path, how: str) -> None:
    members = [(tarfile.TarInfo(f"{number}.xml"), each) for number, each in enumerate(FILLED)]
    content, told = damaged(tar(tmp_path / "whole.tar", members).read_bytes())[how]
    (tmp_path / "old.tar").write_bytes(content)
    result = run("alerts", "import", tmp_path / "old.tar", "--archive", tmp_path / "a.sqlite")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"pyros: {tmp_path / 'old.tar'}: cannot be read to its end: ")
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    if how not in {"headers at once", "cut while packed"}:
        assert "3 new" in result.stdout, "all before the damage"


def test_a_gzip_file_of_several_parts_is_read_to_its_end(tmp_path: Path) -> None:
    members = [(tarfile.TarInfo(f"{number}.xml"), each) for number, each in enumerate(FILLED)]
    whole = tar(tmp_path / "whole.tar", members).read_bytes()
    (tmp_path / "parts.tar.gz").write_bytes(
        b"".join(gzip.compress(whole[at : at + 700]) for at in range(0, 99_999, 700))
    )
    result = run("alerts", "import", tmp_path / "parts.tar.gz", "--archive", tmp_path / "a.sqlite")
    assert (result.exit_code, result.stdout.split(":")[1][:6]) == (0, " 5 new")


def test_what_packs_well_is_unpacked_in_pieces(tmp_path: Path) -> None:
    """One read of a packed file may give a thousand times as much: what is left of it is not copied for each block."""
    (tmp_path / "zeros.gz").write_bytes(gzip.compress(bytes(20_000_000)))
    with (tmp_path / "zeros.gz").open("rb") as file, tar_module.unpacked(file) as stream:
        assert 0 < len(stream.read(10_240)) <= 10_240
        assert file.tell() < 20_000


def test_members_that_are_packed_themselves_are_told(tmp_path: Path) -> None:
    inner = tar(tmp_path / "inner.tar", [(tarfile.TarInfo("0.xml"), FILLED[0])]).read_bytes()
    members = [
        (tarfile.TarInfo("month.tar"), inner), (tarfile.TarInfo("month.tar.gz"), gzip.compress(inner)),
        (tarfile.TarInfo("one.xml"), FILLED[1]), (tarfile.TarInfo("README"), b"hello"),
    ]  # fmt: skip
    file = tar(tmp_path / "year.tar", members)
    told = run("alerts", "import", file, "--archive", tmp_path / "a.sqlite").stdout
    assert told == (
        f"{file}: 1 new, 0 known already, 3 skipped (no alerts; 2 of them are packed: unpack these first)\n"
    )


def test_an_import_that_is_interrupted_goes_on_when_it_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [(tarfile.TarInfo(f"{number}.xml"), each) for number, each in enumerate(FILLED)]
    file, archive = tar(tmp_path / "old.tar", members), tmp_path / "a.sqlite"
    monkeypatch.setattr(import_packets, "GROUP", 2)
    found = import_packets.packets_in

    def with_ctrl_c(path: Path) -> Any:
        for number, member in enumerate(found(path)):
            if number == 3:
                raise KeyboardInterrupt
            yield member

    with monkeypatch.context() as patch:
        patch.setattr(import_packets, "packets_in", with_ctrl_c)
        result = run("alerts", "import", file, "--archive", archive)
    assert result.exit_code == 130
    assert result.stdout == f"{file}: 2 new, 0 known already, 0 skipped (no alerts)\n"
    assert result.stderr == f"pyros: {file}: interrupted; the same command goes on with the rest\n"
    again = run("alerts", "import", file, "--archive", archive)
    assert again.stdout == f"{file}: 3 new, 2 known already, 0 skipped (no alerts)\n"


def test_an_archive_of_an_older_format_is_brought_up_to_date_before_an_import(archive: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(archive, isolation_level=None)) as db:
        for statement in (
            "UPDATE meta SET format = 1", "ALTER TABLE words_1 RENAME TO words", "DROP TABLE volumes",
            "DROP INDEX packets_role", "DROP INDEX packets_kind",
        ):  # fmt: skip
            db.execute(statement)
    asked = run("alerts", "search", "faint", "--archive", archive)
    assert "pyros alerts import brings it up to date" in asked.stderr
    (tmp_path / "new.xml").write_bytes(packet("new", text="a faint one, too"))
    result = run("alerts", "import", tmp_path / "new.xml", "--archive", archive)
    assert result.stderr == "The archive is of an older format: its 5 packets are brought up to date first, once.\n"
    assert run("alerts", "import", tmp_path / "new.xml", "--archive", archive).stderr == ""
    found = lines(run("alerts", "search", "faint", "--archive", archive, "--json"))
    assert sorted(each["number"] for each in found) == [4, 6]


def test_import_of_folders_follows_no_link_and_opens_no_pipe(tmp_path: Path) -> None:
    folder = tmp_path / "packets"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.xml").write_bytes(FILLED[0])
    (folder / "deep" / "two.xml").write_bytes(FILLED[3])
    (tmp_path / "outside.xml").write_bytes(FILLED[1])
    (folder / "link.xml").symlink_to(tmp_path / "outside.xml")
    os.mkfifo(folder / "pipe")
    (folder / "notes.txt").write_text("notes")
    result = run("alerts", "import", folder, tmp_path / "outside.xml", "--archive", tmp_path / "a.sqlite")
    assert result.stdout.splitlines() == [
        f"{folder}: 2 new, 0 known already, 1 skipped (no alerts)",
        f"{tmp_path / 'outside.xml'}: 1 new, 0 known already, 0 skipped (no alerts)",
    ]
    missing = run("alerts", "import", tmp_path / "none", "--archive", tmp_path / "a.sqlite")
    assert missing.stderr == f"pyros: {tmp_path / 'none'}: there is no such file or folder\n"


def test_an_export_remembers_nothing_of_what_it_has_written(tmp_path: Path) -> None:
    written: list[tarfile.TarFile] = []
    addfile = tarfile.TarFile.addfile

    def noted(tar: tarfile.TarFile, *args: Any) -> None:
        written.append(tar)
        addfile(tar, *args)

    with export_packets.writing_to(tmp_path / "out.tar") as write, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tarfile.TarFile, "addfile", noted)
        for number in range(3):
            write(f"{number}.xml", b"<a/>", 1.0)
    assert len(written) == 3
    assert written[0].members == []  # type: ignore[attr-defined]
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert tar.getnames() == ["0.xml", "1.xml", "2.xml"]


@pytest.mark.parametrize("name", ["out.tar", "out.tar.gz", "out.tar.bz2", "out.tar.xz", "out"])
def test_what_is_exported_can_be_imported(archive: Path, tmp_path: Path, name: str) -> None:
    to = tmp_path / name
    assert run("alerts", "export", to, "--archive", archive).stdout == f"5 packets in {to}\n"
    assert "is there already" in run("alerts", "export", to, "--archive", archive).stderr
    assert "5 new" in run("alerts", "import", to, "--archive", tmp_path / "again.sqlite").stdout
    said = json.loads(run("alerts", "import", to, "--archive", tmp_path / "again.sqlite", "--json").stdout)
    assert said == {"path": str(to), "new": 0, "known": 5, "skipped": 0, "packed": 0, "problem": None}
    other = tmp_path / "other"
    said = json.loads(run("alerts", "export", other, "--archive", archive, "--json").stdout)
    assert said == {"to": str(other), "packets": 5}
    one = run("alerts", "export", tmp_path / "event", "--event", "ivo://a/b#gone", "--archive", archive)
    assert one.stdout.startswith("3 packets")
    assert {path.read_bytes() for path in (tmp_path / "event").rglob("*.xml")} == set(FILLED[:3])


# explain


def test_explain_tells_rule_values_and_reason(config: Config, archive: Path) -> None:
    records = [
        DecisionRecord(
            alert="ivo://a/b#one", event="ivo://a/b#one", decided=1774047600.0, accepted=True, rule="all",
            reason="rule 'all': error radius 0.1 <= 1 deg", outcome="requested", observation="obs-1",
            looked_at={"error_radius": 0.1, "age": 12.0, "known_source": False, "classification": {"BNS": 0.9}},
            considered=(
                Considered("fermi", False, (
                    ConditionResult("stream", False, "a/b", ("fermi",), "stream a/b is not fermi"),)),
                Considered("all", True, (ConditionResult("not", True, words="not: age 12 > 1 s", parts=(
                    ConditionResult("max_age", False, 12.0, 1.0, "age 12 > 1 s"),)),)),
            ),
        ),
        DecisionRecord(
            alert="ivo://a/b#gone", event="ivo://a/b#one", decided=1774050000.0, accepted=False, rule="",
            reason="it is retracted", outcome="withdrawn", observation="obs-1",
        ),
    ]  # fmt: skip
    journal = Journal(config.journal("alert_manager"))
    effects = Effects()
    effects.also.append(decisions.prepare)
    for record in records:
        effects.also.append(lambda db, record=record: decisions.write(db, record))  # type: ignore[misc]
    journal.commit(effects)
    try:
        where: tuple[str | Path, ...] = ("--config", config.path)
        assert len(lines(run("alerts", "explain", "ivo://a/b#one", *where, "--json"))) == 2, "without an archive"
        where += ("--archive", archive)
        found = lines(run("alerts", "explain", "ivo://a/b#better", *where, "--json"))
        assert [each["outcome"] for each in found] == ["requested", "withdrawn"]
        assert found[0]["looked_at"]["error_radius"] == 0.1
        assert found[0]["decided"] == "2026-03-20T23:00:00Z"
        text = run("alerts", "explain", "ivo://a/b#one", *where).stdout
        assert "observation requested (obs-1): rule 'all': error radius 0.1 <= 1 deg" in text
        assert "looked at: error_radius 0.1, age 12, known_source no, classification BNS=0.9" in text
        assert "    rule 'fermi' does not fit:\n      no  stream: stream a/b is not fermi\n" in text
        assert "    rule 'all' fits:\n      yes not: not: age 12 > 1 s\n          no  max_age: age 12 > 1 s\n" in text
        assert found[0]["considered"][1]["conditions"][0]["parts"][0]["value"] == 12.0
        assert "ivo://a/b#better\n    no decision: the alert manager never had it" in text
        nothing = run("alerts", "explain", "nothing", *where)
        assert nothing.exit_code == 1
        assert "nothing: not in the archive, and no decision about it" in nothing.stderr
    finally:
        journal.close()


# rules try


RULES = """
rules:
  - {name: never, when: {max_error_radius: 30 arcsec}, observe: nothing}
  - name: all
    when: {max_error_radius: 1}
    observe: [{filter: r, seconds: 10, count: 1}]
    expires_after: 12 h
    min_altitude: 0
"""


def test_rules_are_tried_on_the_past(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "site.yaml").write_text("{name: pole, latitude: 89, longitude: 0, elevation: 0}\n")
    png = tmp_path / "months.png"
    tried = run("rules", "try", tmp_path / "rules.yaml", "--archive", archive, "--png", png, "--json")
    never, every = lines(tried)
    assert (never["rule"], never["events"], never["refused"]) == ("never", 0, 1)
    assert (every["rule"], every["events"], every["updated"], every["retracted"]) == ("all", 2, 0, 1)
    assert every["retracted_after"] == [7200.0]
    assert every["months"] == {"2026-03": 1, "2026-04": 1}
    with Image.open(png) as image:
        assert image.width < 600
        colours = {colour for _, colour in image.getcolors(100_000) or []}
        assert (0x44, 0x77, 0xAA) in colours
    april = lines(run("rules", "try", tmp_path / "rules.yaml", "--archive", archive, "--since", "2026-04-01", "--json"))
    assert april[1]["events"] == 1


@pytest.mark.parametrize(
    ("site", "seen"),
    [
        ("{name: here, latitude: 40, longitude: 180, elevation: 0}", {"at_once": 0, "later": 2, "never": 0}),
        ("{name: pole, latitude: 89, longitude: 0, elevation: 0}", {"at_once": 0, "later": 0, "never": 2}),
        ("{name: west, latitude: 40, longitude: 0, elevation: 0}", {"at_once": 1, "later": 0, "never": 1}),
    ],
)
def test_rules_tried_from_a_site(archive: Path, tmp_path: Path, site: str, seen: dict[str, int]) -> None:
    """On 20 March RA 10 sets an hour after dusk and rises after dawn; on 2 April RA 200 culminates near midnight."""
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "site.yaml").write_text(site)
    result = run(
        "rules", "try", tmp_path / "rules.yaml", "--site", tmp_path / "site.yaml", "--archive", archive, "--json"
    )
    found = lines(result)[1]
    assert {word: found[word] for word in seen} == seen


def test_what_fits_nothing_is_doubted(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "rules:\n- {name: one, when: {stream: swfit}, observe: [{filter: r, seconds: 1}]}\n"
    )
    result = run("rules", "try", tmp_path / "rules.yaml", "--archive", archive)
    assert (result.exit_code, result.stderr) == (
        0, "rule 'one' fits nothing here: no packet has the stream 'swfit' (did you mean swift?)\n"
    )  # fmt: skip


def test_a_mistake_in_the_rules_is_told(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules: [{name: x, when: {colour: blue}, observe: nothing}]")
    fails(
        ["rules", "try", tmp_path / "rules.yaml", "--archive", archive],
        "rules.yaml: line 1: rule 1 (x) when colour: is not known here",
    )


def test_the_table_of_a_trial(archive: Path, tmp_path: Path, config: Config) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    text = run("rules", "try", tmp_path / "rules.yaml", "--archive", archive, "--site", config.site).stdout.splitlines()
    assert text[0].split() == ["rule", "events", "at", "once", "later", "never", "updated", "retracted", "after"]
    assert text[2].split()[-2:] == ["2.0", "h"]
    assert text[-1].startswith("5 packets, 5 different alerts, 2026-03-20 23:00:00 to 2026-04-03")


ASKING = """
rules:
  - {name: up, when: {min_altitude_now: 10, min_time_up: 1 min}, observe: [{filter: r, seconds: 10}], min_altitude: 10}
"""


def test_rules_that_ask_for_the_sky_are_tried_from_a_site(archive: Path, tmp_path: Path) -> None:
    """On 20 March at 23 h RA 10 is below the horizon in the west; it is high in the sky of the other side."""
    (tmp_path / "rules.yaml").write_text(ASKING)
    told = run("rules", "try", tmp_path / "rules.yaml", "--archive", archive)
    assert (told.exit_code, told.stderr.count("\n")) == (1, 1)
    assert "asks for min_altitude_now, min_time_up, which depend on where one stands; name a site" in told.stderr
    events = {}
    for longitude in (0, 180):
        (tmp_path / "site.yaml").write_text(f"{{name: x, latitude: 40, longitude: {longitude}, elevation: 0}}")
        result = run(
            "rules", "try", tmp_path / "rules.yaml", "--archive", archive, "--site", tmp_path / "site.yaml", "--json",
            "--until", "2026-03-20T23:30:00",
        )  # fmt: skip
        events[longitude] = lines(result)[0]["events"]
    assert events == {0: 0, 180: 1}
