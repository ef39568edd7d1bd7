"""The paths by which batch transform picks parts of a record: a small part of JSONPath."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from smalgos.errors import UserError

MOST_CHARACTERS = 63

_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_QUOTED = r"'[^']*'"
_WHOLE = r"-?\d{1,9}"

Step: TypeAlias = Callable[[Any], Any]


class Missing(Exception):
    """A record has not what a path asks for."""


@dataclass(frozen=True)
class Path:
    """``$``, then steps: ``.name``, ``['name']``, ``[index]``; last maybe one that picks several.

    These are ``.*`` or ``[*]`` (the elements of a list, the values of an object),
    ``['name','name']`` (an object with these members alone), ``[index,index]`` and ``[from:to]``
    (a list of these elements). Indexes below 0 count from the end.

    Parameters
    ----------
    text : str
    steps : tuple of callable
        From a value to a part of it; a `Missing` where there is none.
    names : bool
        Whether a step asks for members of objects.
    """

    text: str = "$"
    steps: tuple[Step, ...] = ()
    names: bool = False

    @classmethod
    def parse(cls, text: str, what: str = "path", *, inclusive: bool = False) -> "Path":
        """Read a path.

        Parameters
        ----------
        text : str
            At most 63 characters.
        what : str
            What errors call it.
        inclusive : bool
            Whether a slice holds the element at its end, too.

        Raises
        ------
        UserError
            When it is none: with the place where it stops being one.
        """
        if len(text) > MOST_CHARACTERS:
            raise UserError(f"{what}: {len(text)} characters, where {MOST_CHARACTERS} are allowed")
        if not text.startswith("$"):
            raise UserError(f"{what} {text!r}, character 1: a path begins with $, such as $[1:]")
        steps: list[Step] = []
        at, last, names = 1, False, False
        while at < len(text):
            if last:
                raise UserError(
                    f"{what} {text!r}, character {at + 1}: nothing may follow a step that picks"
                    " several"
                )
            for pattern, make, several, named in _STEPS:
                if found := pattern.match(text, at):
                    steps.append(make(found, inclusive))
                    at, last, names = found.end(), several, names or named
                    break
            else:
                raise UserError(
                    f"{what} {text!r}, character {at + 1}: expected .name, .*, ['name'],"
                    " ['name','name'], [0], [0,-1] or [1:3]"
                )
        return cls(text, tuple(steps), names)

    def select(self, value: Any) -> Any:
        """The part of a record; `Missing` where it has none."""
        for step in self.steps:
            try:
                value = step(value)
            except Missing as e:
                raise Missing(f"{self.text}: {e}") from None
        return value


WHOLE = Path()


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise Missing(f"{name!r} is asked of something that is no object")
    if name not in value:
        raise Missing(f"there is no {name!r}")
    return value[name]


def _elements(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Missing("elements are asked of something that is no list")
    return value


def _element(value: Any, index: int) -> Any:
    elements = _elements(value)
    if not -len(elements) <= index < len(elements):
        raise Missing(f"there is no element {index} among {len(elements)}")
    return elements[index]


def _all(found: re.Match[str], inclusive: bool) -> Step:
    return lambda value: list(value.values()) if isinstance(value, dict) else _elements(value)


def _named(found: re.Match[str], inclusive: bool) -> Step:
    name = found[1]
    return lambda value: _member(value, name)


def _several_named(found: re.Match[str], inclusive: bool) -> Step:
    names = [quoted[1:-1] for quoted in re.findall(_QUOTED, found[1])]
    return lambda value: {name: _member(value, name) for name in names}


def _at(found: re.Match[str], inclusive: bool) -> Step:
    index = int(found[1])
    return lambda value: _element(value, index)


def _several_at(found: re.Match[str], inclusive: bool) -> Step:
    indexes = [int(text) for text in found[1].split(",")]
    return lambda value: [_element(value, index) for index in indexes]


def _slice(found: re.Match[str], inclusive: bool) -> Step:
    start, stop = (int(text) if text.strip() else None for text in found.groups())
    if inclusive and stop is not None:
        stop = None if stop == -1 else stop + 1
    return lambda value: _elements(value)[start:stop]


# Pattern, what makes its step, whether it picks several, whether it asks for names.
_STEPS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], bool], Step], bool, bool], ...] = (
    (re.compile(r"\.\*|\[ *\* *\]"), _all, True, False),
    (re.compile(rf"\.({_NAME})"), _named, False, True),
    (re.compile(r"\[ *'([^']*)' *\]"), _named, False, True),
    (re.compile(rf"\[ *({_QUOTED}(?: *, *{_QUOTED})+) *\]"), _several_named, True, True),
    (re.compile(rf"\[ *({_WHOLE}) *\]"), _at, False, False),
    (re.compile(rf"\[ *({_WHOLE}(?: *, *{_WHOLE})+) *\]"), _several_at, True, False),
    (re.compile(rf"\[ *({_WHOLE}|) *: *({_WHOLE}|) *\]"), _slice, True, False),
)
