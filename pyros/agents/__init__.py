"""Agents: the base class for one's own, and the standard ones."""

from pyros.agents.agent import Agent
from pyros.messages import Message

__all__ = ["Agent", "Message"]
