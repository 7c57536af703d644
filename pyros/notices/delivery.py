"""Sends one message: by e-mail, or through apprise. Functions for a worker process: they may block for a minute.

What comes back tells apart what was surely not taken, which is tried again, from what nobody knows, which is tried
again once. A secret is read from its file here, and stands in no journal, message or error.
"""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec

from pyros.files import read_secret
from pyros.notices.desk import Outcome
from pyros.notices.rules import MailServer, Recipient
from pyros.outgoing import get
from pyros.printable import printable

SOCKET_SECONDS = 20.0
"""How long a mail server may take for each of its answers."""
LARGEST_FILE = 200_000
"""Bytes of a file that a message carries."""
LARGEST_ANSWER = 10_000
"""Bytes that are read of what a pinged address answers."""
EXTRA = "apprise is not installed: pip install 'pyros-observatory[notify]'"


class SendJob(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is to be sent now."""

    recipient: Recipient
    """To whom."""
    server: MailServer | None
    """For e-mail."""
    subject: str
    """Its first line."""
    body: str
    """The text."""
    identifier: str
    """Names this message for mail servers, the same at each attempt: ``12.ab34@pyros``."""
    made: float
    """When it was made, Unix seconds."""
    file: str = ""
    """Path of a text file whose content follows the text; '' for none."""


class SendResult(msgspec.Struct, frozen=True):
    """What came of it."""

    outcome: Outcome
    """Whether it was taken, as far as anybody knows."""
    reason: str = ""
    """Why not, for people."""


def send(job: SendJob) -> SendResult:
    """Send a message. Raises nothing that is the service's or a secret's fault."""
    body = job.body + _content(job.file)
    try:
        if job.recipient.apprise is not None:
            return _by_apprise(job.recipient.apprise, job.subject, body)
        if job.server is None:
            return SendResult("not taken", "the rules name no mail server")
        return _by_mail(job, job.server, body)
    except ValueError as error:
        return SendResult("not taken", str(error))


def ping(url_file: str) -> str:
    """Ask the web address in a file for its page; returns '' when it answers, else why not, without the address."""
    try:
        get(read_secret(Path(url_file)), seconds=SOCKET_SECONDS, largest=LARGEST_ANSWER)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def apprise_problem(file: Path) -> str:
    """Return why a file's URL is none that apprise knows, '' when it is one. Imports apprise, which takes a while."""
    try:
        import apprise  # noqa: PLC0415  only who checks it pays for it
    except ImportError:
        return EXTRA
    try:
        known = apprise.Apprise.instantiate(read_secret(file), suppress_exceptions=True)
    except ValueError as error:
        return str(error)
    return "" if known is not None else "holds no URL that apprise knows, see https://github.com/caronc/apprise/wiki"


def _by_mail(job: SendJob, server: MailServer, body: str) -> SendResult:
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = server.sender
    message["To"] = ", ".join(job.recipient.mail)
    message["Subject"] = printable(job.subject)
    message["Date"] = format_datetime(datetime.fromtimestamp(job.made, UTC))
    message["Message-ID"] = f"<{job.identifier}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message.set_content(body)
    context = ssl.create_default_context()
    try:
        kind: Any = smtplib.SMTP_SSL if server.security == "tls" else smtplib.SMTP
        how = {"context": context} if server.security == "tls" else {}
        with kind(server.host, server.port, timeout=SOCKET_SECONDS, **how) as smtp:
            if server.security == "starttls":
                smtp.starttls(context=context)
            if server.user and server.password is not None:
                smtp.login(server.user, read_secret(server.password))
            else:
                smtp.ehlo_or_helo_if_needed()
            _accepted(smtp.mail(server.sender))
            refused = [f"{to}: {_words(answer)}" for to in job.recipient.mail if (answer := smtp.rcpt(to))[0] >= 300]
            if len(refused) == len(job.recipient.mail):
                return SendResult("not taken", "; ".join(refused))
            return _hand_over(smtp, message, refused)
    except smtplib.SMTPAuthenticationError as error:
        return SendResult("not taken", f"{server.host} does not take the password: {error.smtp_code}")
    except smtplib.SMTPResponseException as error:
        return SendResult("not taken", f"{server.host}: {_words((error.smtp_code, error.smtp_error))}")
    except (OSError, smtplib.SMTPException) as error:
        return SendResult("not taken", f"{server.host}:{server.port}: {_reason(error)}")


def _hand_over(smtp: smtplib.SMTP, message: EmailMessage, refused: list[str]) -> SendResult:
    """Give the message itself; from here on a silent server may have taken it."""
    try:
        code, answer = smtp.data(message.as_bytes())
    except smtplib.SMTPDataError as error:
        return SendResult("not taken", _words((error.smtp_code, error.smtp_error)))
    except (OSError, smtplib.SMTPException) as error:
        return SendResult("unknown", f"the connection broke while the message was handed over: {_reason(error)}")
    if code != 250:
        return SendResult("not taken", _words((code, answer)))
    with suppress(OSError, smtplib.SMTPException):
        smtp.quit()
    return SendResult("sent", "; ".join(refused))


def _by_apprise(file: Path, subject: str, body: str) -> SendResult:
    try:
        import apprise  # noqa: PLC0415  it is an extra, and takes 0.2 s
    except ImportError:
        return SendResult("not taken", EXTRA)
    service = apprise.Apprise()
    if not service.add(read_secret(file)):
        return SendResult("not taken", f"{file} holds no URL that apprise knows")
    if service.notify(title=subject, body=body, body_format=apprise.NotifyFormat.TEXT):
        return SendResult("sent")
    (kind,) = (str(each.service_name) for each in service)
    return SendResult("not taken", f"{kind} has not taken it")


def _content(file: str) -> str:
    if not file:
        return ""
    try:
        with Path(file).open("rb") as stream:
            return "\n" + stream.read(LARGEST_FILE).decode(errors="replace")
    except OSError as error:
        return f"\n({file} cannot be read: {error.strerror})\n"


def _accepted(answer: tuple[int, bytes]) -> None:
    if answer[0] >= 300:
        raise smtplib.SMTPResponseException(*answer)


def _words(answer: tuple[int, bytes | str]) -> str:
    code, text = answer
    return f"{code} {printable(text.decode(errors='replace') if isinstance(text, bytes) else text)[:200]}"


def _reason(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]
