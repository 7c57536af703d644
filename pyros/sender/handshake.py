"""How a connection begins: who the sender is, whether it has proved the observatory's key, and how its clock goes.

The sender's side, without sockets; the receiver's is `pyros.sender.inbound`, the same for agents and broker::

    sender                                   receiver
    hello: name, journal, a nonce        ->
                                         <-  challenge: a nonce
    proof: HMAC over all of it, its now  ->
                                         <-  welcome: last number, HMAC over all of it

A sender without the key leaves its nonce out and is welcomed at once, under a name that is no agent's. A challenge may
come again at any time: to a sender on another computer every ten minutes, since clocks drift, and to one whose name
somebody else has just proved, too. The name is then the sender's that answers. Decision 0041 has the reasons.
"""

from __future__ import annotations

from twisted.logger import Logger

from pyros import keys, wire
from pyros.config import Config
from pyros.errors import WireError
from pyros.permissions import protect
from pyros.unique import boot_id

log = Logger("pyros")


def observatory_key(config: Config) -> bytes:
    """Return the key for a process of the observatory, which makes it where none is and none is named.

    The data folder is closed to others before. Raises ConfigError: the key cannot be made or read, or others may read
    it; the folder cannot be given to its group.
    """
    if changed := protect(config.data, config.path, config.group):
        log.warn("{changed}", changed=changed)
    return keys.read_key(config.key) if config.key is not None else keys.make_key(config.key_file)


class SenderHandshake:
    """The sender's side of one connection."""

    def __init__(self, sender: str, to: str, epoch: str, key: bytes | None, run: str = "") -> None:
        """``key`` is None for a program that has none: it is welcomed unproved.

        ``run`` names this start of an agent's process, which then says that it is alive; '' for a program.
        """
        self._key = key
        nonce = keys.nonce() if key is not None else ""
        self.hello = wire.Hello(wire.PROTOCOL, sender, to, epoch, nonce, boot_id(), run, bool(run), bool(run))
        self._words: tuple[str | float, ...] | None = None

    def prove(self, challenge: wire.Challenge, now: float) -> wire.Frame:
        """Answer a challenge; ``now`` is this computer's monotonic clock. Raises WireError without a key."""
        if self._key is None:
            raise WireError("a proof of the observatory's key is wanted, and there was no word of one")
        self._words = signed_words(self.hello, challenge.nonce, now)
        return wire.Frame(proof=wire.Proof(now, keys.sign(self._key, "proof", *self._words)))

    def check(self, welcome: wire.Welcome) -> None:
        """Raise WireError when who welcomes us does not know the key that we know."""
        if self._key is None:
            return
        words = self._words
        if words is None or not keys.is_signed(welcome.mac, self._key, "welcome", *words, float(welcome.last_seq)):
            raise WireError(
                f"what listens there does not prove the observatory's key, and may be anybody's {self.hello.to}"
                " (or one of an older PYROS)"
            )


def signed_words(hello: wire.Hello, challenge: str, now: float) -> tuple[str | float, ...]:
    """Return what both sides sign: all that was said, so that no part of it fits another connection."""
    return hello.sender, hello.to, hello.epoch, hello.nonce, hello.boot, challenge, now
