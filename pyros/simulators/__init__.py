"""Simulators of the instruments.

Each is described by a YAML file and speaks the native instrument grammar over TCP.

``load`` reads a description, ``Simulator`` runs it. See ``grammar`` for the language and ``camera.sky`` for what a
camera sees.
"""

from pyros.simulators.description import Description, load
from pyros.simulators.server import Simulator

__all__ = ["Description", "Simulator", "load"]
