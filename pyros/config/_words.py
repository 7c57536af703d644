"""Words of the file as values: each raises ValueError saying what would be right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from pyros.config._agent import Address, AmqpConfig, Network
from pyros.config._values import NO, RemoteConfig


class Untold(ValueError):
    """A bad value that must not be repeated."""


def port_number(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError("is not a port; give a whole number from 1 to 65535")
    return int(text)


def ip_word(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("is not an IP address, like 127.0.0.1") from None


def ip_and_port(text: str) -> tuple[str, int]:
    """``ip:port``; an IPv6 address is in brackets."""
    found = re.fullmatch(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]+)", text)
    if found is None:
        raise ValueError("is not an IP address and a port, like 0.0.0.0:5010 or [::]:5010; for others there is at")
    return ip_word(found["six"] or found["four"]), port_number(found["port"])


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(word) for word in text.split())
    except ValueError as error:
        raise ValueError(f"is not a list of networks, like 127.0.0.0/8 ::1 ({error})") from None


def number(low: int, high: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise ValueError(f"is not a whole number from {low} to {high}")
        return int(text)

    return convert


def choice(*allowed: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"is not one of: {', '.join(allowed)}")
        return text

    return convert


def remote(text: str) -> tuple[str, int]:
    """``host:port``, or only the host; an IPv6 address is in brackets."""
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    host, number = (host, port_number(port)) if colon else (text, 8099)
    if not re.fullmatch(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]", host):
        raise ValueError("is not like host:port, or [IPv6 address]:port")
    return host.strip("[]"), number


def address(text: str) -> Address:
    """``[tls:]host:port``; without a port, that is 0."""
    tls = text.startswith("tls:")
    text = text.removeprefix("tls:")
    if not re.search(r"(?<!\]):\d+$|\]:\d+$", text):
        text += ":0"
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9](?:[\w.-]{0,252})|\[[0-9A-Fa-f:.]+\]", host, re.ASCII):
        raise ValueError("is not like dome.example.org:5010, or [IPv6 address]:5010; tls: may stand before it")
    if host.strip("[]") in ("0.0.0.0", "::"):
        raise ValueError("is no address to connect to: there one listens; give the computer's name or address")
    return Address(host.strip("[]"), port_number(port) if port != "0" else 0, tls)


def amqp_url(text: str) -> AmqpConfig:
    """``amqp[s]://[user@]host[:port],...[/vhost]``; never repeats what was given, for it may hold a password."""
    told = Untold("is not like amqps://USER@HOST:PORT,HOST:PORT/VHOST; the password is in the file of amqp_password")
    try:
        url = urlsplit(text)
        user, _, hosts = url.netloc.rpartition("@")
        tls = url.scheme == "amqps"
        nodes = tuple(_node(host, 5671 if tls else 5672) for host in hosts.split(","))
    except ValueError:
        raise told from None
    if url.scheme not in ("amqp", "amqps") or ":" in user or url.query or url.fragment:
        raise told
    vhost = unquote(url.path.removeprefix("/")) or "/"
    return AmqpConfig(nodes, vhost, unquote(user) or "guest", tls)


def _node(text: str, port: int) -> Address:
    there = address(text)
    if there.tls:
        raise ValueError("says tls: twice")
    return Address(there.host, there.port or port)


def remotes(text: str) -> tuple[RemoteConfig, ...]:
    return tuple(RemoteConfig(*remote(word)) for word in text.split())


def lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def servers(text: str) -> str:
    words = text.replace(",", " ").split()
    if not words:
        raise ValueError("names no server; give host:port, several separated by blanks")
    return ",".join(f"{host}:{port_number(port)}" for host, port in (_host(word, 9092) for word in words))


def _host(word: str, port: int) -> tuple[str, str]:
    host, colon, given = word.rpartition(":")
    return (host, given) if colon else (word, str(port))


def topic(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._*-]{1,249}", text):
        raise ValueError("is not a topic: letters, digits, dots, - and _ (* stands for anything)")
    return text


def topics(text: str) -> tuple[str, ...]:
    topics = []
    for word in text.split():
        try:
            topics.append(topic(word))
        except ValueError as error:
            raise ValueError(f"has {word!r}, which {error}") from None
    if not topics:
        raise ValueError("names no topic")
    return tuple(topics)


def command(text: str) -> tuple[str, ...]:
    """Return a program and its arguments, as a shell would take them apart."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"is not a command ({error})") from None
    if not words or not words[0]:
        raise ValueError("names no program")
    return words


def yes(text: str) -> bool:
    return choice("yes", "no")(text) == "yes"


def ivo(text: str) -> str:
    if not re.fullmatch(r"ivo://[A-Za-z0-9][\w\-.~*'()]{2,}/[\w\-.~*'()/]+", text, re.ASCII):
        raise ValueError("is not an IVOA identifier, like ivo://my.observatory/broker")
    return text


def web_address(text: str) -> str:
    if text != NO and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text):
        raise ValueError("is neither no nor a web address, like https://simbad.cds.unistra.fr/simbad/sim-tap/sync")
    return text
