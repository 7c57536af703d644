"""The reference pages of the documentation, made from the code each time: commands, configuration, messages, API.

mkdocs calls `on_files` (mkdocs.yml, hooks); nothing of it is kept in the tree, so that nothing can disagree.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pyros import messages
from pyros.agents import Agent
from pyros.cli.app import SUBJECTS, app
from pyros.config import demo_file
from pyros.health import HealthCheck, Observatory
from pyros.kinds import KINDS, load
from pyros.messages import FLEETING, GUARDED, PAYLOADS
from pyros.sender import Sender


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to those of the folder; called by mkdocs."""
    from mkdocs.structure.files import File  # noqa: PLC0415  the tests need the pages alone

    for name, page in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=page()))
    return files


def commands_page() -> str:
    """Return the page of every command, its arguments and options."""
    lines = ["# Command line", ""]
    lines += [f"* {subject}: {', '.join(f'`pyros {name}`' for name in rows)}" for subject, rows in SUBJECTS.items()]
    lines.append("")
    for name, command in commands():
        lines += [f"## `{name}`", "", *_indented_last(inspect.cleandoc(command.help or "")), ""]
        rows = [(_parameter(each), (getattr(each, "help", None) or "").replace("|", "\\|")) for each in command.params]
        if rows:
            lines += ["| | |", "|---|---|", *(f"| `{words}` | {text} |" for words, text in rows), ""]
    return "\n".join(lines)


def commands(command: Any = None, path: str = "pyros") -> Iterator[tuple[str, Any]]:
    """Yield each command that does something, by what is typed for it."""
    command = command or typer.main.get_command(app)
    context = typer.Context(command)
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(context):
        yield from commands(command.get_command(context, name), f"{path} {name}")


def configuration_page() -> str:
    """Return the page of the configuration: the demo's, in which every key is explained."""
    return f"""# pyros_agent_config.ini

One section for each agent; every key is explained where it stands. What stands after a `;` is a comment, and a key that
is commented out shows its default or an example. This is the demo observatory's file; `pyros init` makes one of your
own from it.

```ini
{demo_file().read_text(encoding="utf-8").rstrip()}
```
"""


def messages_page() -> str:
    """Return the page of every message: its name, and the fields that it carries."""
    lines = ["# Messages", "", *inspect.cleandoc(messages.__doc__ or "").splitlines(), ""]
    for name, payload in sorted(PAYLOADS.items()):
        marks = [
            word
            for word, names in (("fleeting", FLEETING), ("only with the observatory's key", GUARDED))
            if name in names
        ]
        lines += [f"## {name}", "", f"*{', '.join(marks)}*" if marks else "", ""]
        lines += [*inspect.cleandoc(payload.__doc__ or "").splitlines(), ""]
        rows = _fields(payload)
        if rows:
            lines += ["| field | type | |", "|---|---|---|", *(f"| `{a}` | `{b}` | {c} |" for a, b, c in rows), ""]
    return "\n".join(lines)


def api_page() -> str:
    """Return the page of the classes that a program, an agent, a check or a driver of one's own uses."""
    lines = ["# Python API", ""]
    interfaces = [load(f"pyros.instruments.{kind.interface}") for kind in KINDS.values()]
    for thing in (Agent, Sender, HealthCheck, Observatory, *interfaces):
        lines += [
            f"## `{thing.__module__}.{thing.__name__}`",
            "",
            *inspect.cleandoc(thing.__doc__ or "").splitlines(),
            "",
        ]
        for name, member in vars(thing).items():
            function = getattr(member, "__func__", member)
            if name.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
                continue
            lines += [f"### `{name}{_signature(function)}`", "", *inspect.cleandoc(function.__doc__).splitlines(), ""]
    return "\n".join(lines)


def _indented_last(text: str) -> list[str]:
    """Return a command's help, with its examples as code."""
    return [line.replace("<", "&lt;") if not line.startswith("  ") else f"    {line.strip()}" for line in
            text.replace("\nExamples:\n", "\nExamples:\n\n").splitlines()]  # fmt: skip


def _parameter(parameter: Any) -> str:
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def _fields(payload: Any) -> list[tuple[str, str, str]]:
    """Return the fields of a payload, its bases' first: name, type as it is written, and what stands below it."""
    rows: dict[str, tuple[str, str, str]] = {}
    for klass in reversed(payload.__mro__):
        if not klass.__module__.startswith("pyros."):
            continue
        body = ast.parse(inspect.getsource(klass)).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = ""
                if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                    text = " ".join(str(below.value.value).split())
                kind = ast.unparse(field.annotation)
                rows[field.target.id] = field.target.id, kind.replace("|", "\\|"), text.replace("|", "\\|")
    return list(rows.values())


def _signature(function: Any) -> str:
    return " ".join(str(inspect.signature(function)).replace("'", "").split())


PAGES: dict[str, Callable[[], str]] = {
    "commands": commands_page,
    "configuration": configuration_page,
    "messages": messages_page,
    "api": api_page,
}
"""Each page by its name in ``reference/``."""
