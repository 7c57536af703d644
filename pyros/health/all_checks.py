"""Every check of the observatory that the environment names, for ``pytest --pyargs pyros.health.all_checks``."""

from __future__ import annotations

from pyros import config as configuration
from pyros.health.loading import load

_loaded = load(configuration.load())
if _loaded.problems:
    raise ImportError("\n".join(f"{problem.source}: {problem.text}" for problem in _loaded.problems))
for _each in _loaded.classes:
    globals()[f"{_each.__module__.rpartition('.')[2]}_{_each.__name__}"] = _each
