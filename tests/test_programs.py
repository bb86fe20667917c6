"""Commands of other programs on the pages are ones: their parsers, or the files that define them, know every option.

What is not installed here, vLLM, SGLang and SLURM, is only asked for: the page says for which version it was written.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from test_links import PAGES, ROOT, inline, name, tokens

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NO_PROGRAM = {"spa-bench", "accelerate", "export", "[", "."}
"""Checked by `test_page_values.py`, or words of the shell."""
WRITTEN_FOR = {"vllm": r"vLLM \d+\.\d+", "sglang": r"SGLang \d+\.\d+", "sbatch": r"SLURM \d+\.\d+"}
"""Programs that are not installed here -> how a page says for which version its commands are."""
Check = Callable[[Sequence[str], pytest.Config], object]


def lines(page: Path) -> Iterator[str]:
    """What a shell is given: in blocks of a page, and in its text."""
    for token in tokens(page):
        if token.type == "code_block" or token.info in ("bash", "text"):
            yield from token.content.replace("\\\n", " ").splitlines()
        elif token.info == "console":
            shown = token.content.replace("\\\n", " ").splitlines()
            yield from (line[2:] for line in shown if line.startswith("$ "))
    yield from (" ".join(token.content.split()) for token in inline(page) if token.type == "code_inline")


def programs(page: Path) -> Iterator[list[str]]:
    """The words of each call of a program that is known here, without variables in front."""
    for line in lines(page):
        for part in re.split(r"&&|\|\|", line):
            part = re.sub(r"^(\s*[A-Z_]+=\S+)+ ", "", part)
            words = shlex.split(part, comments=True) if part.split()[:1] and part.split()[0] in CHECKED else []
            if len(words) > 1:
                yield words


def options(words: Sequence[str]) -> list[str]:
    """The long ones, without values."""
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def told_in(file: Path, words: Sequence[str]) -> None:
    """Every option stands in the file that defines them."""
    text = file.read_text(encoding="utf-8")
    assert [option for option in options(words) if not re.search(rf'"{option}["/]', text)] == []


def _installed(package: str, file: str) -> Path:
    """A file of a package, which is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0]) / file


def _pip(words: Sequence[str], _: pytest.Config) -> None:
    """Extras are ours, and versions of what we need are among those that we allow."""
    needed = {one.name: one for one in map(Requirement, PROJECT["dependencies"])}
    for word in words[2:]:
        if found := re.fullmatch(r"(?:\.|spa-bench)\[(.*)\]", word):
            assert set(found[1].split(",")) <= set(PROJECT["optional-dependencies"]), word
        elif re.match(r"[a-z]+[<>=]", word) and (one := Requirement(word)).name in needed:
            assert set(one.specifier) <= set(needed[one.name].specifier), word


def _pytest(words: Sequence[str], config: pytest.Config) -> None:
    for option in options(words):
        config.getoption(option)  # ValueError where there is no such


def _python(words: Sequence[str], config: pytest.Config) -> None:
    if words[1:3] == ["-m", "pytest"]:
        _pytest(words[3:], config)
    elif words[1] == "-m":
        assert words[2].split(".")[0] in WRITTEN_FOR or find_spec(words[2]), words[2]
    else:
        _script(words[1:], config)


def _script(words: Sequence[str], _: pytest.Config) -> None:
    """A program of ours; one of the shell hands its options to Python's of the same name."""
    told_in((ROOT / words[0]).with_suffix(".py"), words[1:])


def _tox(words: Sequence[str], _: pytest.Config) -> None:
    assert words[1] == "-e" and f"[testenv:{words[2]}]" in (ROOT / "tox.ini").read_text(encoding="utf-8")


def _as_tox_calls_it(words: Sequence[str], _: pytest.Config) -> None:
    assert f"    {' '.join(words)}\n" in (ROOT / "tox.ini").read_text(encoding="utf-8")


def _ray(words: Sequence[str], _: pytest.Config) -> None:
    commands = pytest.importorskip("ray.scripts.scripts").cli.commands
    commands[words[1]].make_context(words[1], list(words[2:]))


def _vf_eval(words: Sequence[str], _: pytest.Config) -> None:
    resolve = pytest.importorskip("verifiers.v1.cli.resolve")
    from pydantic_config import cli
    from verifiers.v1.configs.cli.eval import EvalConfig

    argv = resolve.with_positional_taskset(list(words[1:]))
    found = cli(resolve.narrow_config(EvalConfig, argv), args=argv)
    assert found.env.taskset.world == "alfworld" and not found.push


def _tracker(file: str) -> Check:
    def check(words: Sequence[str], _: pytest.Config) -> None:
        told_in(_installed(words[0], file), words[1:])

    return check


def _named(words: Sequence[str], _: pytest.Config) -> None:
    """Nothing to ask here: `test_a_page_says...` looks for the version."""


CHECKED: dict[str, Check] = {
    **{"pip": _pip, "pytest": _pytest, "python": _python, "tox": _tox, "ruff": _as_tox_calls_it},
    **{"ray": _ray, "vf-eval": _vf_eval, "vllm": _named, "sbatch": _named},
    "tensorboard": _tracker("plugins/core/core_plugin.py"),
    "trackio": _tracker("cli.py"),
    "wandb": _tracker("cli/cli.py"),
    "tests/gpu/figures.sh": _script,
}
CALLS = [(page, words) for page in PAGES if page.name != "CHANGELOG.md" for words in programs(page)]


@pytest.mark.parametrize(("page", "words"), CALLS, ids=[f"{page.name}-{words[0]}" for page, words in CALLS])
def test_a_command_of_another_program_is_one(page: Path, words: list[str], pytestconfig: pytest.Config) -> None:
    CHECKED[words[0]](words, pytestconfig)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_a_page_says_for_which_version_of_a_program_that_is_not_here(page: Path) -> None:
    asked = {word.split(".")[0] for words in programs(page) for word in (words[0], *words[2:3])}
    text = page.read_text(encoding="utf-8")
    assert [program for program in asked & WRITTEN_FOR.keys() if not re.search(WRITTEN_FOR[program], text)] == []


def test_every_program_in_a_block_is_known() -> None:
    begun = {
        line.split()[2 if line.startswith("$ VLLM") else 1]
        for page in PAGES
        for token in tokens(page)
        if token.info == "console"
        for line in token.content.splitlines()
        if line.startswith("$ ")
    }
    assert begun - {"python3", "mypy", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"} <= CHECKED.keys() | NO_PROGRAM


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("pip install 'spa-bench[vlm]'", AssertionError),
        ('pip install "torch<2.13"', AssertionError),
        ("pytest tests/faults --fault 40", ValueError),
        ("python tests/simulation/verdicts.py --table 3", AssertionError),
        ("tests/gpu/figures.sh figures.json --tiny", AssertionError),
        ("tox -e site", AssertionError),
        ("ruff check ..", AssertionError),
        ("ray start --heads", Exception),
        ("vf-eval spa-bench-verifiers --env.taskset.wrld alfworld --no-push", (SystemExit, Exception)),
    ],
)
def test_a_command_that_is_none_is_seen(command: str, error: type[Exception], pytestconfig: pytest.Config) -> None:
    words = shlex.split(command)
    with pytest.raises(error):
        CHECKED[words[0]](words, pytestconfig)


def test_contributors_install_what_the_tests_are_run_with() -> None:
    extras = re.findall(r"^extras = (.*)$", (ROOT / "tox.ini").read_text(encoding="utf-8"), re.MULTILINE)[0]
    assert f'pip install -e ".[{extras.replace(", ", ",")}]"' in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
