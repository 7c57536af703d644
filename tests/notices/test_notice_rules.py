"""The file of rules: every mistake at once, with its line and key; a secret is in a file of its own, or nowhere."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pyros.config import demo_file
from pyros.errors import ConfigError
from pyros.notices.rules import NoticeRules, Ping
from tests.notices.conftest import RECIPIENTS

SECRET = "tgram://123456:TheSecret/42"


def problems(folder: Path, text: str) -> list[str]:
    file = folder / "notices.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        NoticeRules.load(file)
    assert all(each.startswith(f"{file}: ") for each in raised.value.problems)
    return [each.removeprefix(f"{file}: ") for each in raised.value.problems]


def secret(folder: Path, text: str = SECRET, mode: int = 0o600) -> str:
    (folder / "phone").write_text(f"{text}\n")
    (folder / "phone").chmod(mode)
    return "phone"


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("{what: all, to: ada}", "line 7: rule 1 name: is missing"),
        ("{name: a, what: rain, to: ada}", "line 7: rule 1 (a) what: 'rain' is not one of: all, alarm,"),
        (
            "{name: a, what: all, to: eve}",
            "line 7: rule 1 (a) to: 'eve' is no recipient of this file (there are: ada, bob)",
        ),
        (
            "{name: a, what: all, to: ada, at_most: many}",
            "at_most: must be like 6 per 1 min, or 10 per 1 h, not 'many'",
        ),
        ("{name: a, what: all, to: ada, quiet: '25:00-07:00'}", "quiet: must be like 22:00-07:00, not '25:00-07:00'"),
        ("{name: a, what: all, to: ada, remind: 1 s}", "remind: must be a number of s, or one with a unit"),
        ("{name: a, what: all, to: ada, critical: perhaps}", "critical: must be yes or no, not 'perhaps'"),
        ("{name: a, what: all, too: ada, to: ada}", "rule 1 (a) too: is not known here; known are name, what"),
        ("all", "line 6: rule 1: must be a mapping with name, what, to ..."),
    ],
)
def test_a_mistake_in_a_rule_has_its_line_and_key(tmp_path: Path, rule: str, wanted: str) -> None:
    (found,) = problems(tmp_path, f"{RECIPIENTS.lstrip()}  # rules\n  - {rule}\n")
    assert wanted.removeprefix("line 6: ").removeprefix("line 7: ") in found
    assert found.startswith("line ")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = """
        recipients:
          ada: {mail: nobody}
          b b: {mail: b@example.org}
          bob: {}
        mail: {server: smtp, from: me, security: perhaps}
        zone: Mars/Olympus
        console: //x
        ping: {every: 5 min}
        rulez: []
    """
    keys = [each.partition(": ")[2].split(":")[0] for each in problems(tmp_path, text)]
    assert keys == [
        "rulez", "recipients ada mail", "recipients b b", "recipients bob", "mail server", "mail from", "mail security",
        "ping url", "console", "zone",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o700])
def test_a_secret_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    text = f"recipients: {{ada: {{apprise: {secret(tmp_path, mode=mode)}}}}}"
    (found,) = problems(tmp_path, text)
    assert f"is open to others (mode {mode:04o}); run: chmod 600" in found


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_is_read_from_its_file(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "notices.yaml"
    file.write_text(f"recipients: {{ada: {{apprise: {secret(tmp_path, mode=mode)}}}}}")
    assert NoticeRules.load(file).recipients[0].apprise == tmp_path / "phone"


def test_no_error_repeats_a_secret(tmp_path: Path) -> None:
    for text in (
        f"recipients: {{ada: {{apprise: '{SECRET}'}}}}",
        f"ping: {{url: {secret(tmp_path)}}}",
        "ping: {url: 'https://ping.example.org/TheSecret'}",
        f"recipients: {{ada: {{apprise: {secret(tmp_path, SECRET + chr(10) + SECRET)}}}}}",
    ):
        assert "TheSecret" not in "\n".join(problems(tmp_path, text))


def test_a_ping_has_its_address_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "notices.yaml"
    file.write_text(f"ping: {{url: {secret(tmp_path, 'https://example.org/x')}, every: 1 min}}")
    assert NoticeRules.load(file).ping == Ping(url=tmp_path / "phone", every=60.0)


def test_a_password_does_not_go_readable_over_a_network(tmp_path: Path) -> None:
    name = secret(tmp_path)
    mail = f"{{server: 'smtp.example.org:25', from: a@example.org, security: none, user: a, password: {name}}}"
    (found,) = problems(tmp_path, f"mail: {mail}")
    assert "would send the password readable over the network" in found


def test_all_is_all_but_progress(tmp_path: Path) -> None:
    file = tmp_path / "notices.yaml"
    rules = "- {name: a, what: all, to: ada}\n- {name: b, what: [progress, all], to: ada}\n"
    file.write_text(RECIPIENTS + rules)
    some, more = NoticeRules.load(file).rules
    assert "job" in some.kinds
    assert set(more.kinds) - set(some.kinds) == {"progress"}


def test_the_demos_file_is_right_also_with_its_examples(tmp_path: Path) -> None:
    file = demo_file().parent / "observatory" / "notices.yaml"
    assert NoticeRules.load(file).recipients == ()
    lines = file.read_text().splitlines()
    examples = [line[2:] if line.startswith("# ") and ("  " in line or ": " in line) else line for line in lines[4:]]
    text = "\n".join(examples).replace("recipients: {}", "recipients:").replace("rules: []", "rules:")
    (tmp_path / "secrets").mkdir()
    for name, content in {"mail": "x", "phone": SECRET, "ping": "https://example.org/x"}.items():
        (tmp_path / "secrets" / name).write_text(content)
        (tmp_path / "secrets" / name).chmod(0o600)
    made = tmp_path / "notices.yaml"
    made.write_text(text)
    rules = NoticeRules.load(made)
    assert [each.name for each in rules.recipients] == ["astronomer", "phone"]
    assert [rule.name for rule in rules.rules] == ["wake up", "the night", "failed jobs", "each morning"]
    assert rules.mail is not None
    assert rules.ping is not None
    assert rules.console


_keys = st.sampled_from([
    "recipients", "rules", "mail", "ping", "console", "zone", "name", "what", "to", "from", "quiet", "at_most",
    "server", "url", "every", "apprise", "remind", "contains",
])  # fmt: skip
_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_anything = st.recursive(
    _leaves | st.sampled_from(["ada", "all", "22:00-07:00", "6 per 1 min", "a@example.org"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(_keys, _anything, max_size=6))
def test_whatever_the_file_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with suppress(ConfigError):
        NoticeRules.load(file)
