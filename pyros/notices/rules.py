"""The file of rules and recipients: who is told what, how often, and not at which hours.

It is read as a person wrote it; every mistake is told at once, with file, line, key and what would be right. Secrets
stand in files of their own that nobody else can read, never in this one. docs/notifier.md describes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, time
from email.errors import HeaderParseError
from email.headerregistry import Address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from pyros.errors import ConfigError
from pyros.files import LinedReader, read_secret
from pyros.notices.notice import KINDS, UNASKED, Notice
from pyros.quantities import DURATIONS, quantity

MAX_RECIPIENTS = 20
CRITICAL_AT_MOST = (6, 60.0)
"""Messages of critical notices by one rule, and the seconds in which; what comes beyond waits for a summary."""
_AT_MOST = re.compile(r"\s*(\d{1,4})\s+(?:per|in|a)\s+(.+)")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_HOST = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})", re.ASCII)
_WEB = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
_SECURITY = ("starttls", "tls", "none")


class MailServer(msgspec.Struct, frozen=True, kw_only=True):
    """The server that takes e-mail."""

    host: str
    """Its name or address."""
    port: int
    """Its TCP port."""
    sender: str
    """The address that messages come from."""
    security: str = "starttls"
    """``starttls``, ``tls`` (from the first byte), or ``none``."""
    user: str = ""
    """Name to log in with; '' for none."""
    password: Path | None = None
    """The file of its password."""


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """Who may be told, and on what way: by e-mail, or by a service that apprise knows."""

    name: str
    """The name by which rules call it."""
    mail: tuple[str, ...] = ()
    """E-mail addresses; () for a service."""
    apprise: Path | None = None
    """The file of the service's URL as apprise writes it; None for e-mail."""


class NoticeRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: which notices go to whom."""

    name: str
    """The rule's name."""
    kinds: tuple[str, ...]
    """Kinds of notices."""
    sources: tuple[str, ...] = ()
    """Agents from which they come; () for all."""
    contains: tuple[str, ...] = ()
    """Words of which the notice's key or text has one, in whatever case; () for any text."""
    to: tuple[str, ...]
    """Names of recipients."""
    critical: bool | None = None
    """Whether they pass quiet hours and limits; None: as each notice says."""
    at_most: int = 6
    """Messages within ``per``; what is more waits for a summary."""
    per: float = 60.0
    """Seconds."""
    quiet: tuple[time, time] | None = None
    """From when to when nothing is sent that isn't critical, in the file's time zone; None for never."""
    remind: float = 0.0
    """Seconds after which what is critical is told again until it is over or acknowledged; 0 for never."""

    def takes(self, notice: Notice) -> bool:
        """Return whether a notice is one that this rule is about."""
        said = f"{notice.key} {notice.text}".casefold()
        return (
            notice.kind in self.kinds
            and (not self.sources or notice.source in self.sources)
            and (not self.contains or any(word.casefold() in said for word in self.contains))
        )


class Ping(msgspec.Struct, frozen=True, kw_only=True):
    """A web address that is asked so often that its owner calls somebody when it no longer is."""

    url: Path
    """The file of the web address: who knows it can pretend that all is well."""
    every: float = 300.0
    """Seconds between two."""


class NoticeRules(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    path: Path
    """The file itself."""
    recipients: tuple[Recipient, ...] = ()
    """Who may be told."""
    rules: tuple[NoticeRule, ...] = ()
    """Which notices go to whom; of two that send the same to the same recipient, the first one counts."""
    mail: MailServer | None = None
    """The server for e-mail; None where no recipient needs it."""
    ping: Ping | None = None
    """The outgoing dead man's ping; None for none."""
    console: str = ""
    """The console's web address, as people reach it; '' for none: then messages name a command."""
    zone: str = "UTC"
    """The time zone of quiet hours, by its IANA name."""

    @classmethod
    def load(cls, path: Path) -> NoticeRules:
        """Read a file; raises ConfigError listing every mistake."""
        return _NoticeRuleReader(path).read()

    def recipient(self, name: str) -> Recipient | None:
        """Return the recipient of that name, None when there is none."""
        return next((each for each in self.recipients if each.name == name), None)

    def is_quiet(self, rule: NoticeRule, now: float) -> bool:
        """Return whether a rule's quiet hours are now (Unix seconds)."""
        if rule.quiet is None:
            return False
        begin, end = rule.quiet
        here = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(self.zone)).time()
        return begin <= here < end if begin <= end else here >= begin or here < end


class _NoticeRuleReader(LinedReader):
    """Turns the file into rules, and collects every problem on the way."""

    KEYS = ("recipients", "rules", "mail", "ping", "console", "zone")
    RULE_KEYS = ("name", "what", "from", "contains", "to", "critical", "at_most", "quiet", "remind")

    def read(self) -> NoticeRules:
        """Return the file's rules; raises ConfigError."""
        content = self.document()
        if not self.problems and not isinstance(content, dict):
            self.problem("", "must have the keys recipients and rules")
        if self.problems:
            raise ConfigError(self.problems)
        self.unknown_keys(content, self.KEYS, "")
        recipients = self._recipients(content)
        mail = self._mail(content)
        self.look(content, "recipients")
        if mail is None and "mail" not in content and any(each.mail for each in recipients):
            self.problem("mail", "is missing; recipients with mail need the server: {server: host:port, from: address}")
        rules = self._rules(content, {each.name for each in recipients})
        ping = self._ping(content)
        console = self._take(content, "console", _web, "").rstrip("/")
        zone = self._take(content, "zone", _zone, "UTC")
        made = NoticeRules(
            path=self.path, recipients=recipients, rules=rules, mail=mail, ping=ping, console=console, zone=zone
        )
        if self.problems:
            raise ConfigError(self.problems)
        return made

    def _take(self, content: dict[Any, Any], key: str, read: Callable[[Any], Any], default: Any, at: str = "") -> Any:
        """Return a key's converted value; ``default`` for a missing or bad one. With `...` it must be there."""
        self.look(content, key)
        where = f"{at} {key}".strip()
        if key not in content:
            if default is ...:
                self.problem(where, "is missing")
                return None
            return default
        made = self.convert(content[key], read, where)
        return default if made is None and default is not ... else made

    def _mapping(self, content: Any, where: str, known: tuple[str, ...]) -> dict[Any, Any]:
        if not isinstance(content, dict):
            self.problem(where, f"must be a mapping with {', '.join(known)}")
            return {}
        self.unknown_keys(content, known, where)
        return content

    def _recipients(self, content: dict[Any, Any]) -> tuple[Recipient, ...]:
        self.look(content, "recipients")
        named = content.get("recipients", {})
        if not isinstance(named, dict) or len(named) > MAX_RECIPIENTS:
            self.problem("recipients", f"must be a mapping of names, {MAX_RECIPIENTS} at most: {{ada: {{mail: ...}}}}")
            return ()
        made = []
        for name, each in named.items():
            self.look(named, name)
            where = f"recipients {str(name)[:64]}"
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                self.problem(where, "is not a name: a letter, then letters, digits, _ and -")
                continue
            values = self._mapping(each, where, ("mail", "apprise"))
            if isinstance(each, dict) and ("mail" in values) == ("apprise" in values):
                self.problem(where, "needs either mail (an address, or a list of them) or apprise (a file)")
            mail = self._take(values, "mail", _addresses, (), where)
            service = self._take(values, "apprise", self._secret, None, where)
            made.append(Recipient(name=name, mail=mail, apprise=service))
        return tuple(made)

    def _mail(self, content: dict[Any, Any]) -> MailServer | None:
        if "mail" not in content:
            return None
        self.look(content, "mail")
        known = ("server", "from", "security", "user", "password")
        values, before = self._mapping(content["mail"], "mail", known), len(self.problems)
        host, port = self._take(values, "server", _server, ..., "mail") or ("", 0)
        sender = self._take(values, "from", _address, ..., "mail") or ""
        security = self._take(values, "security", _choice(*_SECURITY), "starttls", "mail")
        user = self._take(values, "user", _text, "", "mail")
        password = self._take(values, "password", self._secret, None, "mail")
        if len(self.problems) == before:
            self.look(values, "user")
            if bool(user) != bool(password):
                self.problem("mail user", "and password (a file) belong together")
            if user and security == "none" and host not in ("localhost", "127.0.0.1", "::1"):
                self.problem("mail security", "none would send the password readable over the network; use starttls")
        return MailServer(host=host, port=port, sender=sender, security=security, user=user, password=password)

    def _rules(self, content: dict[Any, Any], recipients: set[str]) -> tuple[NoticeRule, ...]:
        self.look(content, "rules")
        listed = content.get("rules", [])
        if not isinstance(listed, list) or len(listed) > 100:
            self.problem("rules", "must be a list of rules, 100 at most")
            return ()
        made: list[NoticeRule] = []
        for number, each in enumerate(listed, 1):
            rule = self._rule(each, f"rule {number}", recipients)
            if rule is not None and any(rule.name == other.name for other in made):
                self.look(each, "name")
                self.problem(f"rule {number} name", f"{rule.name!r} is already the name of an earlier rule")
            if rule is not None:
                made.append(rule)
        return tuple(made)

    def _rule(self, content: Any, where: str, recipients: set[str]) -> NoticeRule | None:
        if not isinstance(content, dict):
            self.problem(where, "must be a mapping with name, what, to ...")
            return None
        name = self._take(content, "name", _text, ..., where) or where
        where = f"{where} ({name})"
        self.unknown_keys(content, self.RULE_KEYS, where)
        known = _choice("all", *KINDS)
        kinds = self._take(content, "what", lambda value: tuple(known(each) for each in _list(value)), ..., where) or ()
        to = self._take(content, "to", _texts, ..., where) or ()
        self.look(content, "to")
        for unknown in (each for each in to if each not in recipients):
            names = ", ".join(sorted(recipients)) or "none"
            self.problem(f"{where} to", f"{unknown!r} is no recipient of this file (there are: {names})")
        at_most, per = self._take(content, "at_most", _at_most, (6, 60.0), where)
        return NoticeRule(
            name=name,
            kinds=tuple(dict.fromkeys((*UNASKED, *kinds))) if "all" in kinds else kinds,
            sources=self._take(content, "from", _texts, (), where),
            contains=self._take(content, "contains", _texts, (), where),
            to=tuple(dict.fromkeys(to)),
            critical=self._take(content, "critical", _yes, None, where),
            at_most=at_most,
            per=per,
            quiet=self._take(content, "quiet", _hours, None, where),
            remind=self._take(content, "remind", quantity(DURATIONS, 60.0, 86_400.0 * 7), 0.0, where),
        )

    def _ping(self, content: dict[Any, Any]) -> Ping | None:
        if "ping" not in content:
            return None
        self.look(content, "ping")
        values = self._mapping(content["ping"], "ping", ("url", "every"))
        url = self._take(values, "url", self._secret_url, ..., "ping")
        every = self._take(values, "every", quantity(DURATIONS, 1.0, 86_400.0), 300.0, "ping")
        return None if url is None else Ping(url=url, every=every)

    def _secret(self, value: Any) -> Path:
        """Return the path of a secret that can be read, and by nobody else; never repeats what was given."""
        if not isinstance(value, str) or not value.strip() or "\0" in value or "://" in value or "\n" in value:
            raise ValueError("must be the path of a file that holds the secret, not the secret itself")
        path = (self.path.parent / Path(value).expanduser()).absolute()
        try:
            text = read_secret(path)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None
        if "\n" in text:
            raise ValueError(f"{path} must hold one line")
        return path

    def _secret_url(self, value: Any) -> Path:
        path = self._secret(value)
        if not is_web_address(read_secret(path)):
            raise ValueError(f"{path} holds no web address, like https://example.org/ping/1234")
        return path


def is_web_address(text: str) -> bool:
    """Return whether a text is an http or https address with a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable() and " " not in text
    except ValueError:
        return False


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 200:
        raise ValueError(f"must be a text of one line, not {value!r:.60}")
    return value.strip()


def _list(value: Any) -> list[Any]:
    listed = value if isinstance(value, list) else [value]
    if not listed or len(listed) > 100:
        raise ValueError("must be one, or a list of 100 at most")
    return listed


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(each) for each in _list(value))


def _choice(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"{value!r:.60} is not one of: {', '.join(allowed)}")
        return value

    return read


def _yes(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be yes or no, not {value!r:.60}")
    return value


def _address(value: Any) -> str:
    text = _text(value)
    try:
        address = Address(addr_spec=text)
    except (HeaderParseError, ValueError, IndexError):
        address = None
    if address is None or not address.domain or not text.isascii() or " " in text:
        raise ValueError(f"{text!r:.80} is not an e-mail address, like night@example.org")
    return text


def _addresses(value: Any) -> tuple[str, ...]:
    return tuple(_address(each) for each in _list(value))


def _server(value: Any) -> tuple[str, int]:
    match = _HOST.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise ValueError(f"must be like smtp.example.org:587, not {value!r:.60}")
    return match[1].strip("[]"), int(match[2])


def _at_most(value: Any) -> tuple[int, float]:
    match = _AT_MOST.fullmatch(value) if isinstance(value, str) else None
    if match is None or not int(match[1]):
        raise ValueError(f"must be like 6 per 1 min, or 10 per 1 h, not {value!r:.60}")
    return int(match[1]), quantity(DURATIONS, 1.0, 86_400.0 * 7)(match[2])


def _hours(value: Any) -> tuple[time, time]:
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be like 22:00-07:00, not {value!r:.60}")
    begin, end = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
    if begin == end:
        raise ValueError("ends when it begins")
    return begin, end


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(_text(value)).key
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        pass
    except KeyError:
        pass
    raise ValueError(f"{value!r:.60} is not a time zone, like UTC or Europe/Paris")


def _web(value: Any) -> str:
    if not isinstance(value, str) or not _WEB.fullmatch(value):
        raise ValueError(f"must be a web address, like https://console.example.org, not {value!r:.60}")
    return value
