"""Options as constructors declare them: type, range, default and meaning, from which they are refused and listed.

    @declared("reward mine")
    def __init__(self, *, alpha: Annotated[float, Field(ge=0, description="weight of the bonus")] = 1.0) -> None:

`Field` is pydantic's; of it `ge`, `gt`, `le`, `lt` and the description are read. Numbers are finite. A kind that the
command line cannot set (another class, a list of something) is not checked.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, ParamSpec, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from spa_bench.core import UserError

P = ParamSpec("P")

SIMPLE: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "a table",
    list: "a list",
    type(None): "",
}
"""Types of options that the command line can set, and what they are called."""

REQUIRED = inspect.Parameter.empty
"""Default of an option that has none."""


@dataclass(frozen=True)
class Option:
    """One option of a constructor."""

    name: str
    values: str
    """What it can be, in words; empty where that is not checked."""
    default: Any
    """`REQUIRED` where it must be given."""
    description: str


def options(cls: type[Any]) -> list[Option]:
    """What the constructor can be given by name, in its order; `prompt`, which a run gives to its agent, is none."""
    hints = _hints(cls)  # type: ignore[arg-type,unused-ignore]
    found = []
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            hint = hints.get(parameter.name)
            found.append(Option(parameter.name, wanted(hint), parameter.default, _description(hint)))
    return found


def declared(what: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A constructor that refuses options which are not of the declared type and range; `what` begins its message."""

    def of(init: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(init)
        def checked(*args: P.args, **given: P.kwargs) -> None:
            refuse_mistyped(what, init, given)
            init(*args, **given)

        return checked

    return of


def refuse_mistyped(what: str, function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """UserError for the first option that is not of the declared type and range, where it has one."""
    hints = _hints(function)
    for option, value in given.items():
        if not fits(value, hint := hints.get(option)):
            raise UserError(f"{what}: {option}={value!r}: use {wanted(hint)}")


def fits(value: Any, hint: Any, bounds: tuple[Any, ...] = ()) -> bool:
    """The value is of the type and in the range; a whole number fits `float`, true and false fit neither."""
    kind, own, inner = _taken_apart(hint)
    bounds = (*bounds, *own)
    if inner:
        return any(fits(value, each, bounds) for each in inner)
    if get_origin(kind) is Literal:
        return any(value == known and type(value) is type(known) for known in get_args(kind))
    if kind not in SIMPLE:
        return True
    if not isinstance(value, int | float if kind is float else kind) or isinstance(value, bool) != (kind is bool):
        return False
    return kind not in (int, float) or (math.isfinite(value) and all(_holds(value, bound) for bound in bounds))


def wanted(hint: Any, bounds: tuple[Any, ...] = ()) -> str:
    """Type and range in words, such as "a number, 0 or above"; empty where any value is taken."""
    kind, own, inner = _taken_apart(hint)
    bounds = (*bounds, *own)
    if inner:
        texts = [wanted(each, bounds) for each in inner if each is not type(None)]  # which nobody can type
        return " or ".join(texts) if all(texts) else ""
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    name = SIMPLE.get(kind, "")
    return f"{name}{_range(bounds)}" if kind in (int, float) else name


def _taken_apart(hint: Any) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """The plain type, its bounds, and the parts of a union."""
    bounds: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        for note in notes:
            bounds += tuple(note.metadata) if isinstance(note, FieldInfo) else (note,)
    union = get_origin(hint) in (Union, UnionType)
    kind = hint if union or get_origin(hint) is Literal else get_origin(hint) or hint
    return kind, bounds, get_args(hint) if union else ()


def _holds(value: float, bound: object) -> bool:
    match bound:
        case Ge(ge=least):
            return bool(value >= least)  # type: ignore[operator]
        case Gt(gt=least):
            return bool(value > least)  # type: ignore[operator]
        case Le(le=most):
            return bool(value <= most)  # type: ignore[operator]
        case Lt(lt=most):
            return bool(value < most)  # type: ignore[operator]
    return True


def _range(bounds: tuple[Any, ...]) -> str:
    """The end of "a number": `, 0 or above`, ` above 0, up to 1`, `, 0 to 1`."""
    low = next((bound for bound in bounds if isinstance(bound, Ge | Gt)), None)
    high = next((bound for bound in bounds if isinstance(bound, Le | Lt)), None)
    match low, high:
        case Ge(ge=least), Le(le=most):
            return f", {least} to {most}"
        case Ge(ge=least), None:
            return f", {least} or above"
    above = f" above {low.gt}" if isinstance(low, Gt) else f", {low.ge} or above" if low else ""
    below = f", below {high.lt}" if isinstance(high, Lt) else f", up to {high.le}" if high else ""
    return above + below


def _description(hint: Any) -> str:
    if get_origin(hint) is not Annotated:
        return ""
    notes = [note.description for note in get_args(hint)[1:] if isinstance(note, FieldInfo)]
    return next((" ".join(note.split()) for note in notes if note), "")


@functools.cache
def _hints(function: Any) -> dict[str, Any]:
    """Annotations of a function, or of a class's constructor; none where a type checker alone can read them."""
    made: Any = function
    try:
        return get_type_hints(made.__init__ if inspect.isclass(function) else made, include_extras=True)
    except NameError:  # a name that only a type checker imports
        return {}
