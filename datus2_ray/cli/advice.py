"""Advice in errors, in the flags that the command has: what reads sources and computes knows no command."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

#: What stands between backticks or belongs to another program is no flag of the command.
_QUOTED = re.compile(r"(`[^`]*`|\(ray [^)]*\))")

#: A flag and what is given to it: a word in capitals, a number, or a value that was refused.
_VALUE = r"(?: (?P<value>[A-Z][A-Z_]*\b|none\b|\d[\d,.]*|'[^']*'))?"


def fit_advice(message: str, has: Collection[str], settings: Mapping[str, str]) -> str:
    """Return a message whose flags are those of a command.

    Parameters
    ----------
    message : str
        What went wrong, and what to do.
    has : collection of str
        The command's flags, such as ``--limit``.
    settings : mapping of str to str
        Flags of `datus2 run` and the settings that they stand for. Those that the command lacks are named by ``--set``,
        or where it has that neither, as flags of `datus2 run`.
    """
    parts = _QUOTED.split(message)
    for number in range(0, len(parts), 2):
        for flag, key in settings.items():
            if flag not in has:
                parts[number] = re.sub(rf"{flag}(?![\w-]){_VALUE}", _replacing(key, "--set" in has), parts[number])
        if "--set" not in has:
            parts[number] = re.sub(r"--set [\w.]+(?:=\w+)?(?! of `)", r"\g<0> of `datus2 run`", parts[number])
    return "".join(parts)


def _replacing(key: str, has_set: bool) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        value = match["value"]
        if not has_set:
            return f"{match[0]} of `datus2 run`"
        return key if value is None else f"--set {key}={value}"

    return replace
