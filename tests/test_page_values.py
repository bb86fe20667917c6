"""What pages name is there: commands with the values of their options, options, and settings with their values.

A command is read by the real command line; worlds, methods, agents, settings and recipes are handed to the functions
that the command hands them to, short of its work. NAME, FILE and the like stand for a reader's own words. Commands that
leave nothing open are carried out by `test_page_commands.py`, those of which a page shows what they print by
`test_scaffold.py` and `test_pages.py`, those of other programs are looked at by `test_programs.py`.
"""

from __future__ import annotations

import io
import itertools
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from test_docs import ROOT, blocks
from test_links import PAGES, inline, name, tokens
from test_pages import calls, shown

from spa_bench import registry
from spa_bench.assignments import override
from spa_bench.commands import comparison, listing, official, settings
from spa_bench.commands.cli import app
from spa_bench.commands.evaluate import methods_to_audit, settings_for, settings_to_audit
from spa_bench.commands.options import Flags, check, listed, method_options
from spa_bench.config import RunConfig, build, known_keys
from spa_bench.contract import scaffold
from spa_bench.core import UserError
from spa_bench.report.papers import PAPERS
from spa_bench.runs import trackers
from spa_bench.runs.deadline import Deadline

TOP: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
COMMANDS = {
    name: command
    for top, each in TOP.items()
    for name, command in [(top, each), *((f"{top} {key}", one) for key, one in getattr(each, "commands", {}).items())]
}
"""Each by its words, such as `data get`."""
FREE = ("reward_options", "world.options.", "model.engine_options.")
"""What stands before the options of plug-ins."""
USAGE: Any = typer.BadParameter.__base__
READ = [page for page in PAGES if page.name not in ("CHANGELOG.md", "cli.md", "settings.md")]
"""Earlier versions had other commands; two pages are written from the code."""
PLACEHOLDER = re.compile(r"(recipe:)?[A-Z]+(/[A-Z]+)?(\.toml)?|\[SECTION\]|(NAME|path)\.py:Class|section\.key=value|")
OTHERS = ("--help", "--use_fsdp", "--fsdp_reshard_after_forward", "--small", "--client.base-url", "--no-push")
"""Options of every command, of accelerate, of a program in tests/, and of vf-eval."""
OWN: dict[str, registry.Room] = {
    "on-what-worked": "rewards",
    "mine": "rewards",
    "no-repeats": "agents",
    "one-way": "agents",
    "lamps": "environments",
    "blocks": "environments",
}
"""A reader's own, here as `spa-bench new` writes them."""
NAMED = {
    "on-what-worked": "on_what_worked.py:OnWhatWorked",
    "one-way": "one_way.py:OneWay",
    "lamps": "lamps.py:Lamps",
    "blocks": "blocks.py:Blocks",
}
"""What a package of the reader's calls them -> their files."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the files that pages speak of."""
    made = tmp_path_factory.mktemp("reader")
    write_files(made)
    return made


def write_files(made: Path) -> None:
    """Those of a reader's own, as pages show them, into a folder."""
    for own, room in OWN.items():
        scaffold.write(room, own, made)
    shutil.copytree(ROOT / "examples/blocks/spa_bench_blocks", made / "spa_bench_blocks")
    for page, file in (("tutorial.md", "small.toml"), ("rewards.md", "quick.toml")):
        (made / file).write_text(*blocks(ROOT / "docs" / page, "toml"), encoding="utf-8")


# What stands on a page


def spans(page: Path) -> list[str]:
    """Code in its text and tables."""
    return [" ".join(token.content.split()) for token in inline(page) if token.type == "code_inline"]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command; those in text may go without the program's name, as `list rewards spa` does."""
    begins = re.compile(rf"(spa-bench )?(({'|'.join(TOP)})( .*)?)")
    yield from shown(page)
    yield from calls([f"spa-bench {found[2]}" for text in spans(page) if (found := begins.fullmatch(text))])
    yield from calls([f"spa-bench {ours}" for _, ours in launched(page)])


def launched(page: Path) -> list[tuple[str, str]]:
    """What accelerate and what we are told by each `accelerate launch`."""
    said = "".join(token.content for token in tokens(page) if token.type == "fence").replace("\\\n", " ")
    return re.findall(r"accelerate launch (.*) -m spa_bench (.*)", said)


def options(page: Path) -> Iterator[list[str]]:
    """The words of code that begins with an option, behind a command that has all of its options and accepts them."""
    order = [*("run", "compare", "eval", "audit"), *sorted(COMMANDS)]
    for text in spans(page):
        if text.startswith("--") and text.split()[0] not in OTHERS:
            words = shlex.split(text)
            named = {word for word in words if word.startswith("--")}
            fits = [[*one.split(), *words] for one in order if named <= set(takes(COMMANDS[one]))]
            yield next((call for call in fits if not refused(*call)), [*fits, words][0])


def assigned(page: Path) -> list[str]:
    """Settings in its text, as `section.key` or `section.key=value`."""
    sections = "|".join(key for key, field in RunConfig.model_fields.items() if field.annotation not in (int, str))
    return [text for text in spans(page) if re.fullmatch(rf"({sections})\.[a-z_.]+(=\S*)?", text)]


def meant(words: Sequence[str]) -> list[str]:
    """Without a reader's own words and the options that they are for."""
    kept: list[str] = []
    for word in words:
        own = ",".join(NAMED.get(part, part) for part in word.split(",") if not PLACEHOLDER.fullmatch(part))
        if own:
            kept.append(own)
        elif kept[-1].startswith("--"):
            kept.pop()
    command = COMMANDS.get(" ".join(kept[:2]), COMMANDS.get(kept[0]))
    return kept[:-1] if takes(command).get(kept[-1]) else kept


def takes(command: Any) -> dict[str, bool]:
    """Options of a command, and whether each has a value."""
    params = [] if command is None else command.params
    return {option: not getattr(each, "is_flag", False) for each in params for option in each.opts}


# What it is checked by


def given(pairs: Sequence[str]) -> list[str]:
    """Those that have a value."""
    return [pair for pair in pairs if not PLACEHOLDER.fullmatch(value := pair.partition("=")[2]) and value != "..."]


def flags(p: Mapping[str, Any]) -> Flags:
    return Flags(
        env=p["env"],
        **{key: p.get(key) for key in ("model", "tasks", "data", "split", "optimiser", "evaluation")},
        file=p.get("config"),
        assignments=given(p.get("assign") or ()),
    )


def _run(p: Mapping[str, Any]) -> None:
    check(flags(p).config(reward=p["reward"], seed=p["seed"]))


def _compare(p: Mapping[str, Any]) -> None:
    matched = [] if p["match"] is None else [f"ppo.match={p['match']}"]
    found = comparison.configs(
        flags({**p, "assign": [*(p["assign"] or ()), *matched]}), p["reward"], p["seeds"], p["seed"]
    )
    comparison.budgets_of(p["budgets"])
    if p["shard"] is not None:
        comparison.shard(found, p["shard"])


def _eval(p: Mapping[str, Any]) -> None:
    config, agent = settings_for(flags(p), p["agent"], None, p["seed"])
    if p["agent"] not in (None, "causal-lm"):
        registry.build("agents", agent, prompt=registry.prompt("react"), **config.reward_options)


def _audit(p: Mapping[str, Any]) -> None:
    for method in methods_to_audit(listed(p["reward"])):
        check(settings_to_audit(flags(p), None, method, p["seed"]))


def _check(p: Mapping[str, Any]) -> None:
    build({"env": "alfworld", "reward": "sparse"} | override({}, given(p["assign"] or ())))
    registry.find("environments", p["env"])
    registry.find("rewards", method_options(p["reward"])[0])
    registry.find("agents", method_options(p["agent"] or "expert")[0])


def _report(p: Mapping[str, Any]) -> None:
    if p["paper"] not in (None, "baselines", *PAPERS):
        raise UserError(f"no paper {p['paper']}")


def _list(p: Mapping[str, Any]) -> None:
    if p["what"] != listing.What.runs:
        listing.show(p["what"], p["name"], io.StringIO())


def _world(p: Mapping[str, Any]) -> None:
    check(flags(p).config(reward="sparse"))


CHECKED: dict[str, Callable[[Mapping[str, Any]], object]] = {
    **{"run": _run, "compare": _compare, "eval": _eval, "audit": _audit, "check": _check},
    **{"report": _report, "list": _list, "play": _world, "bench": _world, "doctor": _world},
    "settings": lambda p: settings.show(io.StringIO(), p["section"]),
    **dict.fromkeys(("data get", "data build", "data verify"), lambda p: official.command(p["env"])),
}


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """What a command is called with, each option known to it and of its type; arguments may be left out."""
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    for one in command.params:
        one.required = False
    if not hasattr(command, "commands"):
        return dict(command.make_context("spa-bench", list(words)).params)
    if words:
        raise UserError(f"no command {words[0]}")
    return {}


def known(key: str) -> bool:
    """A setting of this name is there."""
    return key in known_keys() or key.startswith(FREE)


@cache
def refused(*words: str) -> str:
    """What speaks against a command; empty for nothing. What it leaves open may be any world, method or engine."""
    words = tuple(meant(words))
    try:
        p = parsed(words)
    except (USAGE, UserError) as error:
        return str(error.format_message() if isinstance(error, USAGE) else error)
    pairs = p.get("assign") or ()
    if unknown := [pair for pair in pairs if not known(pair.split("=")[0])]:
        return f"no setting {unknown[0]}"
    some = registry.built_in("rewards") if any(pair.startswith("reward_options.") for pair in pairs) else ["sparse"]
    envs = [p.get("env")] if p.get("env") else registry.built_in("environments")
    rewards = [p.get("reward")] if p.get("reward") else some
    said = []
    for env, reward, more in itertools.product(envs, rewards, ([], ["model.engine=server"])):
        try:
            if p.get("track") not in (None, *trackers.TRACKERS):
                trackers.check(p["track"])
            Deadline.of(p.get("deadline"))
            call = {**p, "env": env, "reward": reward, "assign": [*more, *pairs]}
            CHECKED.get(" ".join(words[:2]) if words[0] == "data" else words[0], lambda p: None)(call)
            return ""
        except UserError as error:
            said.append(str(error))
    return said[0]


# The tests


@pytest.mark.parametrize("page", READ, ids=name)
def test_every_command_option_and_setting_of_a_page_is_accepted(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = [*commands(page), *options(page), *(["run", "--set", pair] for pair in assigned(page))]
    assert {shlex.join(words): said for words in found if (said := refused(*words))} == {}


@pytest.mark.parametrize("page", [page for page in READ if launched(page)], ids=name)
def test_accelerate_knows_its_options(page: Path) -> None:
    from accelerate.commands.launch import launch_command_parser

    for words, ours in launched(page):
        told = launch_command_parser().parse_args([*words.split(), "-m", "spa_bench", *ours.split()])
        assert told.training_script == "spa_bench" and told.num_processes > 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run --env alfworld --reward spa --seeds 3", "No such option: --seeds"),
        ("run --env alfword --reward spa", "no environment 'alfword'"),
        ("run --env alfworld --reward gpio", "no reward 'gpio'"),
        ("run --env alfworld --reward spa:gamma=1", "has no option 'gamma'"),
        ("run --env alfworld --reward spa:alpha=-3", "alpha=-3"),
        ("run --reward spa --config recipe:qwen", "no recipe 'qwen'"),
        ("run --set ppo.iteration=3", "no setting ppo.iteration"),
        ("run --set ppo.iterations=many", "ppo.iterations"),
        ("run --set world.options.goal=all", "has no option 'goal'"),
        ("run --set reward_options.keys=state", "has no option 'keys'"),
        ("run --optimiser gpso", "gpso"),
        ("run --track mlflow", "no tracker 'mlflow'"),
        ("compare --shard 9/8", "--shard 9/8"),
        ("compare --match steps", "steps"),
        ("compare --jobs two", "Invalid value for '--jobs'"),
        ("eval --env alfworld --agent experts", "no agent 'experts'"),
        ("eval --env alfworld --agent no_repeats.py:NoRepeats:time=2", "has no option 'time'"),
        ("eval --env alfworld --agent expert --eval studies", "studies"),
        ("check --agent no_repeat.py:NoRepeats", "there is no such file"),
        ("audit --env alfworld --reward spa,sparce", "no reward 'sparce'"),
        ("report --paper gigpo", "no paper gigpo"),
        ("list rewards spar", "no reward 'spar'"),
        ("list methods", "'methods'"),
        ("settings pp", "no section 'pp'"),
        ("data get alfword", "no environment 'alfword'"),
        ("data fetch alfworld", "fetch"),
        ("trian --env alfworld", "trian"),
    ],
)
def test_what_is_not_there_is_seen(command: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert said in refused(*command.split())


def test_commands_are_found_in_blocks_tables_and_text(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Say `list rewards spa`, `--eval study` or `ppo.lam=1`.\n\n| a | b |\n|---|---|\n| `spa-bench view` | - |\n\n"
        "```console\n$ spa-bench run \\\n    --env alfworld\n1 task\n```\n",
        encoding="utf-8",
    )
    found = [["run", "--env", "alfworld"], ["list", "rewards", "spa"], ["view"]]
    assert [*commands(page)] == found
    assert ([*options(page)], assigned(page)) == ([["run", "--eval", "study"]], ["ppo.lam=1"])
