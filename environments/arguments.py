"""Arguments that the constructors of all worlds have, with their ranges and what is said of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

TaskSource = Annotated[
    Literal["builtin", "official"], Field(description="tasks generated from a seed, or official data in `data`")
]
DataFolder = Annotated[str | None, Field(description="folder of official data; default: the data cache")]
StepLimit = Annotated[int | None, Field(ge=1, description="episode limit; default: the world's own for these tasks")]
Seed = Annotated[int, Field(ge=0, description="seed of the built-in tasks")]
Difficulty = Annotated[
    Literal["default", "hard"], Field(description="of the built-in tasks; hard: sizes as in the official data")
]
TrainTasks = Annotated[int, Field(ge=1, description="built-in train tasks")]
HeldOutTasks = Annotated[int, Field(ge=1, description="built-in tasks of each held-out split")]
RenderMode = Annotated[Literal["ansi"] | None, Field(description="Gymnasium's: what `render` returns")]


def larger_sets(**options: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """`TextEnv.evaluation_sets` of a world that makes 2,500 held-out tasks with these options: 500 of them, and all."""
    made = {"world": {"options": {"valid": 2500, **options}}}
    return {"study": made | {"eval": {"tasks": 500}}, "full": made}
