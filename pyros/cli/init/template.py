"""The demo's files as a template: values are changed where they stand, and every comment is kept.

So each key is explained in one place, the demo's configuration, and an observatory of one's own has the same words.
"""

from __future__ import annotations

import re

from pyros.errors import PyrosError

_COLUMN = 45
"""Where a comment begins beside a value."""
_CONTINUATION = re.compile(r"; {4,8}(?=\S)")
_HEADER = re.compile(r"(?:; )?\[(?P<name>[^\]]+)\]")


class IniTemplate:
    """An INI file's lines. Each method raises PyrosError for what the file doesn't have."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def head(self, *comments: str) -> None:
        """Replace the comments before the first empty line."""
        end = self._lines.index("")
        self._lines[:end] = [f"; {comment}" for comment in comments]

    def set(self, section: str, key: str, *values: str) -> None:
        """Give a key its value, or several, one a line; a key that is commented out comes into force."""
        number = self._find(section, key)
        line = self._lines[number]
        comment = line[line.index(" ; ") + 1 :] if " ; " in line.removeprefix("; ") else ""
        value = values[0] if len(values) == 1 else ""
        new = f"{key} = {value}".rstrip()
        end = self._end_of_value(number)
        kept = [each for each in self._lines[number + 1 : end] if each.lstrip().startswith(";")]
        self._lines[number:end] = [
            f"{new:{_COLUMN - 1}} {comment}".rstrip(),
            *kept,
            *(f"    {each}" for each in values if len(values) > 1),
        ]

    def leave_out(self, section: str, key: str) -> None:
        """Comment a key out, with its value."""
        number = self._find(section, key)
        for each in range(number, self._end_of_value(number)):
            self._lines[each] = f"; {self._lines[each].removeprefix('; ')}"

    def drop(self, section: str) -> None:
        """Remove a section up to the next empty line: what follows there is about others."""
        begin = self._section(section)
        end = next((number for number in range(begin, len(self._lines)) if not self._lines[number]), len(self._lines))
        del self._lines[begin : end + 1]

    def enable(self, section: str, *keys: str) -> None:
        """Bring a section into force that is commented out, with these of its keys; nothing if it is in force."""
        if f"[{section}]" in (line.partition(" ; ")[0].strip() for line in self._lines):
            return
        begin = next((at for at, line in enumerate(self._lines) if line.startswith(f"; [{section}]")), None)
        if begin is None:
            raise PyrosError(f"the demo's configuration has no section [{section}] to begin with")
        self._lines[begin] = self._lines[begin].removeprefix("; ")
        active = False
        for number in range(begin + 1, len(self._lines)):
            line = self._lines[number]
            if line.strip() in ("", ";") or _HEADER.match(line):
                self._lines[number] = "" if line.strip() == ";" else line
                break
            if (key := re.match(r"; (\w+) =", line)) is not None:
                active = key[1] in keys
            if active and (key is not None or _CONTINUATION.match(line)):
                self._lines[number] = line[2:]

    def _section(self, section: str) -> int:
        for number, line in enumerate(self._lines):
            if line == f"[{section}]" or line.startswith(f"[{section}] "):
                return number
        raise PyrosError(f"the demo's configuration has no section [{section}]")

    def _find(self, section: str, key: str) -> int:
        begin = self._section(section)
        lines = list(enumerate(self._lines))[begin + 1 :]
        end = next((number for number, line in lines if line.startswith("[")), len(self._lines))
        for form in (f"{key} =", f"; {key} ="):
            for number, line in lines[: end - begin - 1]:
                if line.startswith(form):
                    return number
        raise PyrosError(f"the demo's configuration has no key {key} in [{section}]")

    def _end_of_value(self, number: int) -> int:
        end = number + 1
        if self._lines[number].startswith(";"):
            return end
        while end < len(self._lines) and self._lines[end].startswith((" ", "\t")) and self._lines[end].strip():
            end += 1
        return end


def set_yaml(text: str, comment: str, **values: str) -> str:
    """Return a YAML file's text with other values of keys on its top level, and another comment in its first line."""
    text = f"# {comment}\n{text.partition(chr(10))[2]}"
    for key, value in values.items():
        old = re.search(rf"(?m)^{key}: [^#\n]*?(?=\s*(?:#|$))", text)
        if old is None:
            raise PyrosError(f"the demo's file has no key {key}")
        text = f"{text[: old.start()]}{key}: {value}{text[old.end() :]}"
    return text
