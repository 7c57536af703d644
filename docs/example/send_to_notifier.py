"""Tell the notifier of an observation. Returns when the notifier has committed it, or says why it could not."""

from pyros.agents import Agent
from pyros.messages import OBSERVATION_FINISHED, ObservationReport
from pyros.sender import Sender

report = ObservationReport(observation="obs-by-hand", images=("one.fits", "two.fits"))
Sender.send_to("notifier", OBSERVATION_FINISHED, report)
Sender.send_to("notifier", Agent.SHUTDOWN)
