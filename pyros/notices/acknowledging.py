"""How a person's word that they take care of a notice gets to the notifier: for the console's page and the command."""

from __future__ import annotations

from pyros import keys, messages
from pyros.config import Config, StandardAgents
from pyros.messages import NoticeAcknowledged
from pyros.notices.desk import cause_name
from pyros.notices.links import read_token
from pyros.notices.notice import Cause
from pyros.notices.reading import read_book
from pyros.sender import Sender


def cause_of(config: Config, token: str, now: float) -> Cause | None:
    """Return what a link is about, None when it is forgotten already; changes nothing, whoever fetches the page.

    Mail programs fetch links to look at them: only a person's button calls `acknowledge`. ``now`` is Unix seconds.
    Raises PyrosError, in words for the person, for a link that isn't ours or has ended.
    """
    name = read_token(keys.read_key(config.key_file), token, now)
    return next((cause for cause in read_book(config).causes.values() if cause_name(cause) == name), None)


def acknowledge(config: Config, token: str, who: str, now: float, *, seconds: float = 5.0) -> None:
    """Tell the notifier that ``who`` takes care of what the token is about; blocks until it has taken that.

    Raises PyrosError as `cause_of` does, or DeliveryError when the notifier does not answer within ``seconds``.
    """
    name = read_token(keys.read_key(config.key_file), token, now)
    said = NoticeAcknowledged(cause=name, who=who[:100])
    Sender.send_to(StandardAgents.NOTIFIER, messages.NOTICE_ACKNOWLEDGED, said, config=config, timeout=seconds)
