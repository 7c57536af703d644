"""The notifier: tells people what they have asked to know, once, by e-mail or any service that apprise knows.

Rules in a YAML file say what goes to whom (`pyros.notices`). An attempt to deliver a message stands in the journal
before it begins and when it has ended, and runs in a worker process of its recipient's own: a service that is slow or
dead delays nobody. After kill -9 at any instant each message is there once, or at most twice. A rehearsal sends nothing
and keeps what would have been sent.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents._lanes import Lanes
from pyros.agents.agent import Agent
from pyros.agents.options import AgentOption, OptionTable
from pyros.journal import PROGRAM
from pyros.messages import (
    AlarmEnded,
    AlarmRaised,
    AlertDecided,
    AlertSource,
    InstrumentConnection,
    JobFinished,
    JobProgressed,
    Message,
    NightReported,
    NoteEnded,
    NoteRaised,
    NoticeAcknowledged,
    NoticeTest,
    ObservationReport,
    WeatherState,
)
from pyros.notices import delivery, texts
from pyros.notices.delivery import SendJob, SendResult, ping, send
from pyros.notices.desk import ALARM_FAILURES, Desk, Outcome
from pyros.notices.notice import Notice, NoticeBook
from pyros.notices.rules import NoticeRules
from pyros.reactor import Reactor
from pyros.sender.handshake import observatory_key

NOTICES_DUE = messages.guard("Notices due", fleeting=True)
PING_DUE = messages.guard("Ping due", fleeting=True)
DELIVERY_ENDED = "Delivery ended"
_DELIVERY_SECONDS = 90.0
"""After which a worker process that delivers is killed."""
_LAST_SECONDS = 3.0
"""For which the agent's end waits for what is being delivered."""
_RULES = AgentOption("rules", str, "")
_PING = "ping"
_PROGRAM = re.compile(rf"{PROGRAM}(.+)-\d+-\w+")
"""How a program is called on the wire: its name, its process's number, and a word of its own."""


class DeliveryEnded(messages.Payload, frozen=True):
    """The notifier to itself: an attempt has ended."""

    number: int
    """The delivery's number."""
    attempt: int
    """Which attempt it was, from 1."""
    outcome: Outcome
    """Whether it was taken."""
    reason: str = ""
    """Why not, for people."""


messages.register(DELIVERY_ENDED, DeliveryEnded, guarded=True)


class NotifierAgent(Agent):
    """Takes alarms, changes of safety, alerts that are observed, faults, jobs, reports and notes.

    Its option: ``rules``, a YAML file of recipients and rules; without one nothing is sent.
    """

    OPTIONS: ClassVar[OptionTable] = (_RULES,)
    state: NoticeBook

    def __init__(self) -> None:
        super().__init__(Agent.NOTIFIER)
        self.actions_by_message |= {
            messages.ALARM: self.alarm_raised,
            messages.ALARM_OVER: self.alarm_ended,
            messages.WEATHER_SAFE: self.weather_judged,
            messages.WEATHER_UNSAFE: self.weather_judged,
            messages.ALERT_DECIDED: self.alert_decided,
            messages.INSTRUMENT_CONNECTED: self.instrument_link,
            messages.INSTRUMENT_DISCONNECTED: self.instrument_link,
            messages.ALERTS_SILENT: self.alert_source,
            messages.ALERTS_HEARD: self.alert_source,
            messages.OBSERVATION_FAILED: self.observation_failed,
            messages.JOB_FINISHED: self.job_finished,
            messages.JOB_PROGRESSED: self.job_progressed,
            messages.NIGHT_REPORTED: self.night_reported,
            messages.NOTE: self.note_raised,
            messages.NOTE_OVER: self.note_ended,
            messages.NOTICE_ACKNOWLEDGED: self.notice_acknowledged,
            messages.NOTICE_TEST: self.notice_test,
            DELIVERY_ENDED: self.delivery_ended,
            NOTICES_DUE: self.notices_due,
            PING_DUE: self.ping_due,
        }
        self._timer: tuple[float, int] | None = None
        """When the next look is due (Unix seconds), and its timer."""
        self._detached = False
        self._rehearsed = False
        self._pinged = True

    def attach(self, reactor: Reactor) -> None:
        self._detached = False
        self._rehearsed = not hasattr(reactor, "spawnProcess")
        self._lanes = Lanes(reactor, self.clock, self.log, delivery.__name__)

    def detach(self) -> Deferred[Any]:
        """End the worker processes; what they were delivering may come a second time after the next start."""
        self._detached = True
        return self._lanes.stop(_LAST_SECONDS)

    def work(self) -> None:
        """Read the rules; take up the deliveries that this agent's last life has left."""
        path = self.option(*_RULES)
        file = self.config.path.parent / path
        self.rules = NoticeRules.load(file) if path else NoticeRules(path=file)
        self._key = observatory_key(self.config)
        self.desk.recover(self.clock.time())
        if self.rules.ping is not None and not self._rehearsed:
            self.ping_due()
        self._go_on()

    @property
    def desk(self) -> Desk:
        """The rules at work on the state, which is another object after a turn that was undone."""
        return Desk(self.rules, self.state, self.config.name, self._key)

    # What is told -------------------------------------------------------------------------------------------------

    def alarm_raised(self, message: Message) -> None:
        alarm: AlarmRaised = message.payload
        self._take(Notice(kind="alarm", source=alarm.source, key=alarm.key, text=alarm.text, critical=True))

    def alarm_ended(self, message: Message) -> None:
        """One alarm; or a source has begun anew, and says again what lasts."""
        ended: AlarmEnded = message.payload
        if ended.key:
            self._take(Notice(kind="alarm", source=ended.source, key=ended.key, over=True))
        else:
            self.desk.source_begun(ended.source, self.clock.time())
            self._go_on()

    def report_alarm(self, message: Message) -> None:
        """Tell monitoring, and by what other ways there are, that a recipient cannot be reached."""
        super().report_alarm(message)
        (self.alarm_raised if message.name == self.TELL_ALARM else self.alarm_ended)(message)

    def weather_judged(self, message: Message) -> None:
        state: WeatherState = message.payload
        over = message.name == messages.WEATHER_SAFE
        self._take(Notice(kind="safety", source=message.sender, key="unsafe", text=state.reason, over=over))

    def alert_decided(self, message: Message) -> None:
        decided: AlertDecided = message.payload
        if decided.accepted:
            name = decided.event or decided.alert
            text = f"{name} is to be observed: {decided.reason}"
            self._take(Notice(kind="alert", source=message.sender, key=name, text=text))

    def instrument_link(self, message: Message) -> None:
        link: InstrumentConnection = message.payload
        over = message.name == messages.INSTRUMENT_CONNECTED
        text = f"the {link.instrument} is not connected: {link.text}"
        self._take(Notice(kind="fault", source=link.instrument, key="not connected", text=text, over=over))

    def alert_source(self, message: Message) -> None:
        said: AlertSource = message.payload
        over = message.name == messages.ALERTS_HEARD
        text = f"no alerts from {said.source}: {said.text}"
        self._take(Notice(kind="fault", source=message.sender, key=f"{said.source} silent", text=text, over=over))

    def observation_failed(self, message: Message) -> None:
        """One that may be observed again is no fault: an alert came first, or a cloud."""
        report: ObservationReport = message.payload
        if not report.again:
            key, text = f"observation {report.observation}", f"{report.observation} has failed: {report.reason}"
            self._take(Notice(kind="fault", source=message.sender, key=key, text=text))

    def job_finished(self, message: Message) -> None:
        job: JobFinished = message.payload
        text = f"{_job(job)} has {job.state}" + (f": {job.reason}" if job.reason else "")
        self._take(Notice(kind="job", source=message.sender, key=job.id, text=text))

    def job_progressed(self, message: Message) -> None:
        job: JobProgressed = message.payload
        text = f"{_job(job)} is at {job.percent:.0f} %" + (f": {job.text}" if job.text else "")
        self._take(Notice(kind="progress", source=message.sender, key=job.id, text=text))

    def night_reported(self, message: Message) -> None:
        report: NightReported = message.payload
        text = f"the report of the night of {report.night}"
        self._take(Notice(kind="report", source=message.sender, key=report.night, text=text, file=report.file))

    def note_raised(self, message: Message) -> None:
        note: NoteRaised = message.payload
        source = _source(message.sender)
        self._take(Notice(kind="note", source=source, key=note.key, text=note.text, critical=note.critical))

    def note_ended(self, message: Message) -> None:
        ended: NoteEnded = message.payload
        self._take(Notice(kind="note", source=_source(message.sender), key=ended.key, over=True))

    def notice_acknowledged(self, message: Message) -> None:
        said: NoticeAcknowledged = message.payload
        who = said.who or message.sender
        cause = self.desk.acknowledge(said.cause, who)
        what = cause.notice.text if cause is not None else "a notice that is forgotten already"
        self.log.info("{who} takes care of it: {what}", who=who, what=what)

    def notice_test(self, message: Message) -> None:
        order: NoticeTest = message.payload
        names = order.recipients or tuple(each.name for each in self.rules.recipients)
        self.desk.test(names, order.word, self.clock.time())
        self._go_on()

    # Going on -----------------------------------------------------------------------------------------------------

    def notices_due(self) -> None:
        """Do what is due by now."""
        self._timer = None
        self._go_on()

    def delivery_ended(self, message: Message) -> None:
        ended: DeliveryEnded = message.payload
        item = next((each for each in self.state.waiting if each.number == ended.number), None)
        now = self.clock.time()
        channel = self.desk.end(ended.number, ended.attempt, ended.outcome, ended.reason, now)
        if item is not None and channel is not None:
            self._watch(item.recipient, channel.failures, channel.reason)
        self._go_on()

    def ping_due(self) -> None:
        """Ask the address whose owner calls somebody when it is no longer asked."""
        if self.rules.ping is None:
            return
        self.call_later(self.rules.ping.every, PING_DUE)
        self.after_commit(self._ping, str(self.rules.ping.url))

    def _take(self, notice: Notice) -> None:
        self.desk.take(notice, self.clock.time())
        self._go_on()

    def _watch(self, recipient: str, failures: int, reason: str) -> None:
        key = f"{recipient} cannot be reached"
        if not failures:
            self.alarm_over(key)
        elif failures >= ALARM_FAILURES:
            self.alarm(key, f"messages to {recipient} are not taken: {reason}; see pyros notify list")

    def _go_on(self) -> None:
        """Begin what may be delivered now, and look again when more is due."""
        now = self.clock.time()
        self.desk.tick(now)
        for item in self.desk.begin(now):
            recipient = self.rules.recipient(item.recipient)
            if recipient is None:  # only a change of the rules takes one away, and `recover` has closed what was his
                continue
            body = texts.REPEAT + item.body if item.uncertain else item.body
            job = SendJob(
                recipient=recipient, server=self.rules.mail, subject=item.subject, body=body, made=item.made,
                file=item.file, identifier=f"{item.number}.{int(item.made)}@{self.config.name}.pyros",
            )  # fmt: skip
            self.after_commit(self._deliver, job, item.number, item.attempts)
        due = self.desk.next(now)
        if self._timer is not None and (due is None or abs(self._timer[0] - due) > 1.0):
            self.cancel_timer(self._timer[1])
            self._timer = None
        if due is not None and self._timer is None:
            self._timer = (due, self.call_later(max(0.1, due - now), NOTICES_DUE))

    # In the reactor's thread -------------------------------------------------------------------------------------

    def figures(self) -> dict[str, Any]:
        """Return how many messages wait, and to how many recipients nothing comes through."""
        book = self.state
        failing = sum(each.failures > 0 for each in list(book.channels.values()))
        return {"notices_waiting": len(book.waiting), "recipients_failing": failing}

    def _deliver(self, job: SendJob, number: int, attempt: int) -> None:
        if self._rehearsed:
            self.post_to_self(DELIVERY_ENDED, DeliveryEnded(number, attempt, "recorded"))
            return
        done = self._lanes.run(job.recipient.name, send, job, _DELIVERY_SECONDS)

        def ended(result: SendResult | Failure) -> None:
            if self._detached:
                return
            if isinstance(result, Failure):  # its worker died, or was killed for it took too long
                result = SendResult("unknown", result.getErrorMessage())
            if result.reason:
                self.log.warn("{to}: {reason}", to=job.recipient.name, reason=result.reason)
            self.post_to_self(DELIVERY_ENDED, DeliveryEnded(number, attempt, result.outcome, result.reason))

        done.addBoth(ended)

    def _ping(self, file: str) -> None:
        if self._detached:
            return

        def ended(problem: str | Failure) -> None:
            problem = problem.getErrorMessage() if isinstance(problem, Failure) else problem
            if self._detached or bool(problem) is not self._pinged:
                return
            self._pinged = not problem
            if problem:
                self.log.warn("the dead man's ping gets no answer: it {why}", why=problem)
            else:
                self.log.info("the dead man's ping is answered again")

        self._lanes.run(_PING, ping, file, _DELIVERY_SECONDS).addBoth(ended)


def _job(job: JobFinished | JobProgressed) -> str:
    return f"the job {job.name} ({job.id}" + (f", asked for by {job.owner})" if job.owner else ")")


def _source(sender: str) -> str:
    """Return an agent's or a program's name: another process of the same program speaks of the same things."""
    match = _PROGRAM.fullmatch(sender)
    return match[1] if match else sender
