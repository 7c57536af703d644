"""The same agent in a plain program: it runs until Ctrl-C, or until it is sent Agent.SHUTDOWN."""

from notifier import NotifierAgent

NotifierAgent().start()
