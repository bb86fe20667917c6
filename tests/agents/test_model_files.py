"""A model folder of anybody: no code of it runs, and whatever is wrong with it is one line."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from spa_bench import registry
from spa_bench.agents import model_files, template_trial
from spa_bench.core import UserError
from spa_bench.training import sizes
from spa_bench.training.model_content import identify

CODE = "import pathlib\npathlib.Path({!r}).touch()\nfrom transformers import LlamaConfig as C, LlamaForCausalLM as M\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    tiny.language_model(layers=1).save(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of a small model that a test may spoil."""
    own = tmp_path / "model"
    own.mkdir()
    for file in saved.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    return own


def load(folder: Path) -> Any:
    kind: Any = registry.find("agents", "causal-lm")
    return kind.load(str(folder), registry.prompt("react"), context=64, max_new_tokens=4)


def refused(folder: Path, *words: str) -> None:
    """Each way to read the model ends in one line with these words."""
    ways: list[Callable[[], Any]] = [
        lambda: load(folder),
        lambda: identify(str(folder), registry.prompt("react"), "Solve it."),
    ]
    for way in ways:
        with pytest.raises(UserError) as error:
            way()
        assert "\n" not in str(error.value)
        assert all(word in str(error.value) for word in words), error.value


def settings(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_model_as_it_was_saved_is_loaded(folder: Path):
    assert load(folder).chat.ends
    assert sizes.shape(str(folder)).num_hidden_layers == 1


@pytest.mark.parametrize("known", [False, True])
def test_t06_no_code_of_a_model_runs_and_nothing_is_asked(
    folder: Path, tmp_path: Path, known: bool, monkeypatch: pytest.MonkeyPatch
):
    """Also where standard input would answer yes; a model of a known kind is loaded by the code of transformers."""
    yes = os.memfd_create("yes") if hasattr(os, "memfd_create") else None
    if yes is not None:
        os.write(yes, b"y\n" * 100)
        os.lseek(yes, 0, os.SEEK_SET)
        monkeypatch.setattr("sys.stdin", os.fdopen(yes))
    (folder / "own.py").write_text(CODE.format(str(tmp_path / "ran")))
    settings(
        folder,
        auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M", "AutoTokenizer": ["own.T", "own.T"]},
        **({} if known else {"model_type": "unheard-of"}),
    )
    if known:
        load(folder)
    else:
        with pytest.raises(UserError, match="cannot load model"):
            load(folder)
    assert not (tmp_path / "ran").exists()


class Trap:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def test_t06_a_pickle_in_place_of_weights_is_not_opened(folder: Path, tmp_path: Path):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "ran")))
    with pytest.raises(UserError, match="cannot load model"):
        load(folder)
    pickle.loads((folder / "pytorch_model.bin").read_bytes())  # noqa: S301 - the trap works
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 100_000}, "num_hidden_layers=100000, more than 1000"),
        ({"num_hidden_layers": 10**15}, "more than 1000"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "more than 1000"),
        ({"num_local_experts": 10**9}, "more than 4096"),
    ],
)
def test_an_absurd_number_of_parts_is_refused_before_one_is_made(folder: Path, changes: dict[str, Any], words: str):
    settings(folder, **changes)
    for way in (load, lambda folder: sizes.shape(str(folder))):
        with pytest.raises(UserError, match=words):
            way(folder)


@pytest.mark.parametrize(
    "changes",
    [{"vocab_size": 10**9, "hidden_size": 4096}, {"hidden_size": 10**9}, {"intermediate_size": 10**12}],
)
def test_weights_beyond_the_machine_are_counted_and_not_made(folder: Path, changes: dict[str, Any]):
    settings(folder, **changes)
    with pytest.raises(UserError, match=r"its config.json describes \S+ weights, \S+ GB, and this machine has"):
        load(folder)


def test_a_number_that_no_machine_can_hold_is_one_line(folder: Path):
    settings(folder, hidden_size=10**18, vocab_size=10**18)
    with pytest.raises(UserError, match="cannot load model"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"[" * 200_000, b'{"a": ' * 100_000, b"{}", b"[]", b"3", b"\xff\xfe", b'"x"'])
def test_a_file_of_settings_with_any_content_is_one_line(folder: Path, name: str, content: bytes):
    (folder / name).write_bytes(content)
    try:
        load(folder)
    except UserError as error:
        assert "\n" not in str(error)
        assert "cannot load model" in str(error) or "tokenizer" in str(error)
    else:
        assert name == "tokenizer_config.json"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero on this system")
def test_what_has_no_end_is_not_read(folder: Path, name: str):
    for make in (lambda file: file.symlink_to("/dev/zero"), os.mkfifo):
        (folder / name).unlink()
        make(folder / name)
        with pytest.raises(UserError, match=f"{name} is no file"):
            load(folder)


def test_a_file_of_settings_that_is_too_large_is_not_read(folder: Path):
    with (folder / "tokenizer.json").open("ab") as file:
        file.truncate(model_files.LARGEST + 1)
    with pytest.raises(UserError, match=r"tokenizer\.json has more than"):
        load(folder)


def test_weights_of_another_shape_or_a_damaged_list_are_one_line(folder: Path):
    weights = load_file(folder / "model.safetensors")
    save_file({"model.norm.weight": torch.zeros(7)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="cannot load model"):
        load(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(b"\xff" * 8 + raw[8:])
    with pytest.raises(UserError, match="cannot load model"):
        load(folder)


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for", "cannot write user and assistant"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[7].content.x.y }}", "cannot write user and assistant"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "cannot write user and assistant"),
        ("{% for i in range(10**9) %}x{% endfor %}", "Range too big"),
        (ENDLESS, "takes more than 1 s"),
        ("{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "writes more than"),
        ("{{ 'x' * 10**10 }}", "MB of memory"),
        ("{{ 10 ** (10 ** 9) }}", "takes more than 1 s"),
        ("{% if messages|length > 1 %}" + ENDLESS + "{% endif %}", "takes more than 1 s"),
    ],
)
def test_a_template_that_is_wrong_endless_or_huge_is_one_line(
    folder: Path, template: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    short = Path(template_trial.__file__).read_text().replace("SECONDS, WALL = 10,", "SECONDS, WALL = 1,")
    (tmp_path / "trial.py").write_text(short)
    monkeypatch.setattr(template_trial, "__file__", str(tmp_path / "trial.py"))
    monkeypatch.setattr(template_trial, "SECONDS", 1)
    (folder / "chat_template.jinja").write_text(template)
    refused(folder, "chat template", words)
