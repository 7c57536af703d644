"""Every check of the observatory that the environment names, for ``pytest --pyargs pyros.health.all_checks``."""

from __future__ import annotations

from pyros import config as configuration
from pyros.health.check import HealthCheck
from pyros.health.loading import load

_loaded = load(configuration.load())


class Loading(HealthCheck):
    """The files of checks."""

    def test_files(self) -> None:
        """Every file of checks can be loaded."""
        if _loaded.problems:
            self.fail("; ".join(f"{problem.source}: {problem.text}" for problem in _loaded.problems))


for _each in _loaded.classes:
    _name = _each.__name__
    while _name in globals():  # two files have a class of this name
        _name += "_"
    globals()[_name] = _each
