"""Annotated scripts: what they say of themselves, and that no value is ever more than text."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyros.errors import JobError
from pyros.jobs.scripts import MAX_ARGUMENT, Parameter, Script, read_script, scripts
from tests.jobs.conftest import Queue

TEXT = """#!/bin/sh
##~~ - Align and add
##~~ - the images of a night
##~~ night - the evening's date
##~~ stars (int = 100) - how many to align by
##~~ method (one of mean|median = median)
##~~ flat (file) - a flat field - the newest
##~~ dither (yes=no) - were they dithered
##~~ notes (long = ) - goes into the header
echo "##~~ this is no annotation"
"""
NASTY = [
    "; rm -rf /", "$(touch owned)", "`touch owned`", "a\nb\r\nc", "' \" \\", "| cat > owned", "&& touch owned", "*",
    "~", "-rf", "--", "${IFS}", "%s%n", "\x1b[2J", "é\U0001f30c", "", " ", "x" * MAX_ARGUMENT,
]  # fmt: skip
CHARACTERS = (
    [chr(code) for code in range(1, 256)] + list("\u0301\u202e\ufeff\uffff\U0001f30c") + list("$`;&|<>(){}*?!\n\\") * 9
)


def script(folder: Path, text: str, name: str = "add.sh") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_script_says_what_it_needs(tmp_path: Path) -> None:
    read = read_script(script(tmp_path, TEXT))
    assert read.text == "Align and add the images of a night"
    assert read.parameters == (
        Parameter("night", text="the evening's date"),
        Parameter("stars", "int", default="100", text="how many to align by"),
        Parameter("method", "one of", ("mean", "median"), "median"),
        Parameter("flat", "file", text="a flat field - the newest"),
        Parameter("dither", "yes", default="no", text="were they dithered"),
        Parameter("notes", "long", default="", text="goes into the header"),
    )


def test_values_become_arguments_in_their_order(tmp_path: Path) -> None:
    read = read_script(script(tmp_path, TEXT))
    flat = tmp_path / "flat.fits"
    flat.touch()
    words, files = read.arguments({"night": "2026-03-20", "flat": str(flat), "notes": "n" * (1 << 20)})
    assert words == (str(read.path), "2026-03-20", "100", "median", str(flat), "no", "notes.txt")
    assert files == {"notes.txt": "n" * (1 << 20)}


def test_every_mistake_in_the_values_is_told(tmp_path: Path) -> None:
    read = read_script(script(tmp_path, TEXT))
    with pytest.raises(JobError) as caught:
        read.arguments({"stars": "many", "method": "sum", "flat": "/no/such", "dither": "1", "moon": "full"})
    assert str(caught.value).splitlines() == [
        "add.sh has no parameter 'moon'",
        "add.sh: dither '1' is neither yes nor no",
        "add.sh: flat '/no/such' is no file that can be read",
        "add.sh: method 'sum' is not one of mean, median",
        "add.sh: night is missing (the evening's date)",
        "add.sh: stars 'many' is not a whole number",
        "add.sh takes: night, stars, method, flat, dither, notes",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("##~~ a (integer) - x", "a: 'integer' is no type"),
        ("##~~ a (int = many)", "a: its default 'many' is not a whole number"),
        ("##~~ a b - x", "is not written"),
        ("##~~ ?? - x", "'\\?\\?' is no name"),
        ("##~~", "has no name"),
        ("##~~ a (one of x|x)", "choices that differ"),
        ("##~~ a - x\n##~~ a - y", "line 2: a is there twice"),
        ("##~~ a (int", "is not written"),
    ],
)
def test_a_mistake_in_an_annotation_has_its_line(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(JobError, match=told):
        read_script(script(tmp_path, line))


def test_another_prefix_can_be_chosen(tmp_path: Path) -> None:
    path = script(tmp_path, "//: night - a date\n##~~ other - x\n")
    assert [parameter.name for parameter in read_script(path, "//:").parameters] == ["night"]


def test_a_folder_has_scripts_and_other_files(tmp_path: Path) -> None:
    script(tmp_path, TEXT)
    script(tmp_path, "##~~ ? - x", "bad.sh")
    (tmp_path / "notes.txt").write_text("##~~ ?")
    found, problems = scripts(tmp_path)
    assert [each.name for each in found] == ["add.sh"]
    assert len(problems) == 1
    assert "bad.sh: line 1" in problems[0]


@given(st.text())
@example("##~~ a (one of | = ) - -")
def test_no_annotation_is_an_unexpected_error(text: str) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="replace") as file:
        file.write(f"##~~{text}\n##~~ {text}")
        file.flush()
        try:
            read = read_script(Path(file.name))
        except JobError:
            return
        assert all(parameter.name.isidentifier() for parameter in read.parameters)


@given(st.text())
@example("; rm -rf /")
@example("$(reboot)")
@example("a\nb")
def test_a_value_is_an_argument_as_it_is_or_refused(value: str) -> None:
    path = Path("/scripts/one.sh")
    try:
        words, files = Script(path, parameters=(Parameter("a"), Parameter("b", "long"))).arguments(
            {"a": value, "b": value}
        )
    except JobError:
        assert "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)
        return
    assert words == (str(path), value, "b.txt")
    assert files == {"b.txt": value}


def test_no_value_is_more_than_text_to_a_program(queue: Callable[..., Queue]) -> None:
    jobs = queue()
    folder = jobs.place.folder
    show = f"#!{sys.executable}\nimport json, sys\nlong = open('long.txt', newline='').read()\n"
    show += "print(json.dumps([sys.argv[1:], long]))\n"
    chance = random.Random(14)
    drawn = ["".join(chance.choices(CHARACTERS, k=chance.randint(1, 300))) for _ in range(70)]
    values = [*NASTY, *drawn]
    notes = "".join(f"##~~ p{number} - a text\n" for number in range(len(values)))
    read = read_script(script(folder, show + notes + "##~~ long (long) - a text\n", "show.py"))
    large = "; rm -rf / $(reboot)\n" * 50_000
    words, files = read.arguments({f"p{number}": value for number, value in enumerate(values)} | {"long": large})
    id_ = jobs.ask(*words, files=files)
    assert jobs.wait(id_).state == "succeeded"
    assert json.loads(jobs.file(id_, "log")) == [[*values, "long.txt"], large]
    assert not list(folder.glob("**/owned"))


def test_an_input_is_a_file_of_the_inbox(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    (inbox / "folder").mkdir(parents=True)
    for name in ("targets.csv", ".hidden", "o f.fits"):
        (inbox / name).touch()
    (tmp_path / "secret").touch()
    (inbox / "link").symlink_to(tmp_path / "secret")
    path = script(tmp_path, "##~~ list (inbox) - targets\n")
    [parameter] = read_script(path, inbox=inbox).parameters
    assert parameter.files() == ["o f.fits", "targets.csv"]
    assert parameter.check("o f.fits") == str(inbox / "o f.fits")
    for wrong in ("../secret", "link", "folder", ".hidden", "", "/etc/passwd", "targets.csv/"):
        with pytest.raises(ValueError, match="is no file of"):
            parameter.check(wrong)
    with pytest.raises(JobError, match="option_inbox"):
        read_script(path).arguments({"list": "targets.csv"})
