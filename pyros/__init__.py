"""PYROS: the software that runs a robotic observatory."""

__version__ = "0.1.0"
