"""pyros_agent_config.ini read once into frozen values.

Every mistake is reported at once, each with file, section, key and what would be right; an unknown key is a mistake.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from pyros.config._agent import Address, AgentConfig, AmqpConfig, Network, is_here
from pyros.config._agent_section import DANGEROUSLY_OFF
from pyros.config._reader import Reader, addresses_clash
from pyros.config._schedule import Schedule, schedule
from pyros.config._units import CENTRAL_SCHEDULER, SHARED_KINDS, WHOLE, Agents, UnitConfig, lies_within
from pyros.config._values import (
    BROKER,
    INSTRUMENTS,
    NO,
    NOWHERE,
    OPTIONAL_AGENTS,
    PYROS_IVO,
    STANDARD_AGENTS,
    BrokerConfig,
    CeleryConfig,
    Config,
    ConsoleConfig,
    GuardianConfig,
    JobConfig,
    KafkaConfig,
    RemoteConfig,
    StandardAgents,
    TlsConfig,
    WeatherLimits,
)
from pyros.errors import ConfigError

__all__ = [
    "BROKER",
    "CENTRAL_SCHEDULER",
    "DANGEROUSLY_OFF",
    "ENVIRONMENT",
    "FILE_NAME",
    "INSTRUMENTS",
    "NO",
    "NOWHERE",
    "OPTIONAL_AGENTS",
    "PYROS_IVO",
    "SHARED_KINDS",
    "STANDARD_AGENTS",
    "WHOLE",
    "Address",
    "AgentConfig",
    "Agents",
    "AmqpConfig",
    "BrokerConfig",
    "CeleryConfig",
    "Config",
    "ConsoleConfig",
    "GuardianConfig",
    "JobConfig",
    "KafkaConfig",
    "Network",
    "RemoteConfig",
    "Schedule",
    "StandardAgents",
    "TlsConfig",
    "UnitConfig",
    "WeatherLimits",
    "addresses_clash",
    "demo_file",
    "find",
    "is_here",
    "lies_within",
    "load",
    "schedule",
]

FILE_NAME = "pyros_agent_config.ini"
ENVIRONMENT = "PYROS_AGENT_CONFIG"


def find(path: str | os.PathLike[str] | None = None) -> Path:
    """Find the configuration file: the one given, else $PYROS_AGENT_CONFIG, else the working directory's.

    Raises ConfigError saying where it was looked for.
    """
    given = path or os.environ.get(ENVIRONMENT)
    found = Path(given or FILE_NAME).absolute()
    if found.is_file():
        return found
    if found.is_dir():
        raise ConfigError([f"{found}: is a folder; name the file in it with --config or ${ENVIRONMENT}"])
    source = "--config" if path else f"${ENVIRONMENT}" if given else "the working directory"
    raise ConfigError([f"{found}: no such file (looked for by {source}); name it with --config or ${ENVIRONMENT}"])


def demo_file() -> Path:
    """Return the demo observatory's configuration file: the clone's, else the copy that an installed package has.

    Its other files are in the folder ``observatory`` beside it. Raises ConfigError when neither is there.
    """
    package = Path(__file__).parents[1]
    for folder in (package.parent, package / "demo"):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise ConfigError([f"the demo observatory is not in {package.parent}; name a configuration with --config"])


def load(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the file that `find` finds; raises ConfigError listing every mistake."""
    file = find(path)
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",), strict=True)
    try:
        text = file.read_text(encoding="utf-8")
        parser.read_string(text, source=str(file))
    except configparser.MissingSectionHeaderError as error:
        line = f"line {error.lineno}: {error.line.strip()[:60]!r}"
        raise ConfigError([f"{file}: {line} stands before the first section, such as [observatory]"]) from None
    except configparser.ParsingError as error:
        lines = text.split("\n")  # as the error has them they depend on Python's version
        told = [(number, lines[number - 1].strip()[:60]) for number, _ in error.errors]
        raise ConfigError(
            [f"{file}: line {number}: {line!r} is neither 'key = value' nor a [section]" for number, line in told]
        ) from None
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise ConfigError([f"{file}: {' '.join(str(error).split())}"]) from None
    return Reader(file, parser).read()
