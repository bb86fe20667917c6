"""What a model is, whatever it is called: `./model` of one folder is not `./model` of another.

Common starts are shared, and finished runs taken as finished, only where this is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from spa_bench import registry
from spa_bench.config import SMOLLM2
from spa_bench.core import ReplyFormat, UserError
from spa_bench.files import data_folder
from spa_bench.manifest import content_hash

READ = ("*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*/*.jinja")
"""Files beside the weights from which transformers makes configuration, tokenizer and templates."""


def place(name: str) -> str:
    """Where a model lies that is called so: a folder or a Hub id; UserError where `smollm2` was not fetched yet."""
    if name != SMOLLM2:
        return name
    folder = data_folder(SMOLLM2)
    if not folder.is_dir():
        raise UserError(f"no model {SMOLLM2} in {folder}: get it with `spa-bench data get {SMOLLM2}`")
    return str(folder)


def known_as(name: str) -> str:
    """`smollm2` where a name is a path of its folder, so that both are one run; every other name as it is."""
    if os.path.isdir(name) and (folder := data_folder(SMOLLM2)).is_dir() and os.path.samefile(name, folder):
        return SMOLLM2
    return name


def identify(name: str, prompt: ReplyFormat, instructions: str, **reading: Any) -> dict[str, str]:
    """The content of a folder's or a Hub model, for `run.json`; UserError where there is none.

    Of a folder the digests of `weights` and of all other `files` that are read, of a model from the Hub its `revision`;
    of both the digest of the chat `template`, the date that it prints (`template_date`), and the beginning of a
    conversation in this world as the model reads it (`example`; `rendered` is its digest). `reading` are the settings
    of history and thoughts. Nothing says where the model lies.
    """
    from transformers.utils.hub import cached_file, extract_commit_hash

    kind: Any = registry.find("agents", "causal-lm")
    name = place(name)
    with kind.loading(name):
        config = cached_file(name, "config.json")
        assert config is not None  # an error, where there is none
        revision = None if Path(name).is_dir() else extract_commit_hash(config, None)
        told = kind.example(name, prompt, instructions, revision=revision, **reading)
    own = {"revision": revision} if revision else _of_folder(Path(config).parent)
    digests = {key: _digest(told[key]) for key in ("rendered", "template")}
    return own | digests | {"template_date": told["template_date"], "example": told["rendered"]}


def _of_folder(folder: Path) -> dict[str, str]:
    found = sorted({path for pattern in READ for path in folder.glob(pattern) if path.is_file()})
    files = [(path.relative_to(folder).as_posix(), content_hash([path])) for path in found]
    weights = [(path.name, content_hash([path])) for path in sorted(folder.glob("*.safetensors"))]
    return {"weights": _digest(weights), "files": _digest(files)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
