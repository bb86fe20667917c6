"""The run folder: what was written before a kill is there after it, and nothing is there by half."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from edited import run_json
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench import files, manifest
from spa_bench.config import RunConfig, build
from spa_bench.core import Step, Task, Tokens, Trajectory, UserError
from spa_bench.files import cache_entry, cache_root
from spa_bench.locks import Lock
from spa_bench.runs.episodes import from_row, to_row
from spa_bench.runs.folder import RunFolder, config_hash, read_run, record_failure, run_path
from spa_bench.runs.journal import Journal
from spa_bench.runs.names import reward_label, reward_name
from spa_bench.runs.provenance import facts

CONFIG = RunConfig(env="alfworld", reward="sparse")

texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["\ud800", "a\udfffb", "\0", "\u2028\r\n", "😀"]
)
floats = st.floats(allow_nan=False, allow_infinity=False)
ids = st.integers(0, 2**31)


def whole(text: str) -> str:
    """Adjacent high and low surrogates as the one character that JSON takes them for."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


@st.composite
def tokens(draw: st.DrawFn) -> Tokens:
    reply = draw(st.lists(ids, max_size=4))
    logprobs = draw(st.lists(floats, min_size=len(reply), max_size=len(reply)))
    return Tokens(tuple(draw(st.lists(ids, max_size=4))), tuple(reply), tuple(logprobs), draw(st.booleans()))


clean_texts = texts.map(lambda text: text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")) | (
    st.sampled_from(["\ud800", "x\udc00", "\ud83d y"])
)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    fault = draw(st.sampled_from([None, "format", "inadmissible"]))
    said = [draw(clean_texts) for _ in range(3)]
    return Step(*said, fault is None, fault, draw(floats), draw(floats), draw(st.none() | tokens()))


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    return Trajectory(
        task=Task(draw(clean_texts), draw(clean_texts), "train", draw(clean_texts), draw(ids)),
        steps=tuple(draw(st.lists(steps(), max_size=3))),
        outcome=draw(floats),
        success=draw(st.booleans()),
        terminated=draw(st.booleans()),
        truncated=draw(st.booleans()),
        start_progress=draw(floats),
        final_observation=draw(clean_texts),
        error=draw(st.none() | clean_texts),
    )


@max_examples(150)
@given(trajectory=trajectories())
def test_a_trajectory_comes_back_equal_to_the_bit(tmp_path_factory: pytest.TempPathFactory, trajectory: Trajectory):
    journal = Journal(tmp_path_factory.mktemp("journal") / "episodes.jsonl")
    journal.append(to_row(trajectory) | {"stage": "train", "iteration": 0, "index": 3})
    rows, unreadable = journal.read()
    assert unreadable == 0
    back = from_row(rows[0])
    assert back == trajectory
    assert repr(back) == repr(trajectory)  # -0.0 equals 0.0, but is not the same bits


@given(text=texts)
def test_any_text_comes_back_with_only_surrogate_pairs_joined(tmp_path_factory: pytest.TempPathFactory, text: str):
    journal = Journal(tmp_path_factory.mktemp("journal") / "rows.jsonl")
    journal.append({"text": text})
    assert journal.read() == ([{"text": whole(text)}], 0)
    assert journal.path.read_bytes().isascii()


def test_numpy_numbers_are_written_as_plain_ones(tmp_path: Path):
    journal = Journal(tmp_path / "rows.jsonl")
    journal.append({"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.arange(2)})
    assert journal.read()[0] == [{"a": 0.5, "b": 3, "c": True, "d": [0, 1]}]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("-inf"), [float("nan")]])
def test_a_number_that_is_not_finite_is_refused_and_nothing_is_written(tmp_path: Path, value: object):
    journal = Journal(tmp_path / "rows.jsonl")
    journal.append({"a": 1})
    with pytest.raises(ValueError, match=r"rows\.jsonl"):
        journal.extend([{"b": 2}, {"loss": value}])
    assert journal.read() == ([{"a": 1}], 0)


def test_t03_a_journal_cut_off_at_any_byte_keeps_the_earlier_rows_and_takes_new_ones(tmp_path: Path):
    full = Journal(tmp_path / "full.jsonl")
    rows = [{"index": 0, "text": "ü\n"}, {"index": 1, "nested": {"a": [1.5, None]}}, {"index": 2}]
    full.extend(rows)
    data = full.path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    for size in range(len(data) + 1):
        journal = Journal(tmp_path / "cut.jsonl")
        journal.path.write_bytes(data[:size])
        # A row that only lost its newline is whole.
        kept = sum(end - 1 <= size for end in ends)
        torn = size not in (0, *ends) and size + 1 not in ends
        assert journal.read() == (rows[:kept], int(torn))
        journal.append({"index": 9})
        assert journal.read() == ([*rows[:kept], {"index": 9}], 0)  # the part of a row is gone, and nothing else
        assert journal.path.read_bytes().startswith(data[: ends[kept - 1] - 1 if kept else 0])


def test_a_torn_row_longer_than_what_is_read_at_once_is_cut_off_whole(tmp_path: Path):
    journal = Journal(tmp_path / "rows.jsonl")
    journal.append({"index": 0})
    with journal.path.open("ab") as file:
        file.write(b'{"text": "' + b"x" * 200_000)
    assert journal.read() == ([{"index": 0}], 1)
    journal.append({"index": 1})
    assert journal.read() == ([{"index": 0}, {"index": 1}], 0)
    assert journal.path.stat().st_size < 100


def test_t03_a_damaged_line_that_is_not_the_last_stays_and_is_counted(tmp_path: Path):
    journal = Journal(tmp_path / "rows.jsonl")
    journal.path.write_bytes(b'{"index": 0}\n{"ind\n{"index": 2}\n')
    journal.append({"index": 3})
    assert journal.read() == ([{"index": 0}, {"index": 2}, {"index": 3}], 1)


@pytest.mark.parametrize(
    ("line", "readable"),
    [
        (b'{"a": 1}\r', True),
        (b"", True),
        (b"\0\0\0\0", False),
        (b'{"a": "\xff"}', False),
        (b'{"a": NaN}', False),
        (b"[1]", False),
        (b'{"a": 1}{"a": 2}', False),
        (b"{" + b'"a":[' * 100_000, False),
        (b'{"a": ' + b"9" * 5000 + b"}", False),
    ],
)
def test_t03_a_bad_line_is_counted_and_its_neighbours_are_kept(tmp_path: Path, line: bytes, readable: bool):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b'\n{"n": 2}\n')
    rows, unreadable = Journal(path).read()
    assert [row["n"] for row in rows if "n" in row] == [1, 2]
    assert unreadable == (0 if readable else 1)


def test_t03_missing_and_empty_journals_are_empty(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    assert Journal(path).read() == ([], 0)
    path.touch()
    assert Journal(path).read() == ([], 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_a_user_error_that_names_the_file():
    with pytest.raises(UserError, match=r"/dev/full.*earlier rows are intact"):
        Journal(Path("/dev/full")).append({"a": 1})


def test_a_row_that_does_not_fit_is_a_user_error():
    with pytest.raises(UserError, match="version of spa-bench"):
        from_row({"task": {"env": "alfworld"}, "steps": []})


def python(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


OPEN = """
import os, signal, sys
from pathlib import Path
from spa_bench import files
from spa_bench.config import RunConfig
from spa_bench.runs.folder import RunFolder, read_run
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_t05_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_stays(tmp_path: Path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="is a link: remove it"):
        Lock(tmp_path / "lock").acquire(wait=False)
    assert (tmp_path / "precious").read_text() == "kept"


def test_the_lock_names_its_holder_and_dies_with_it(tmp_path: Path):
    code = OPEN + (
        'folder = RunFolder.open(Path(sys.argv[1]), RunConfig(env="alfworld", reward="sparse"), {})\n'
        'folder.episodes.append({"a": 1}); print("open", flush=True); sys.stdin.read()'
    )
    child = python(code, tmp_path / "run")
    assert child.stdout is not None and child.stdout.readline() == "open\n", child.communicate()
    with pytest.raises(UserError, match=f"in use by process {child.pid}"):
        RunFolder.open(tmp_path / "run", CONFIG, {})
    child.kill()
    child.wait()
    child.communicate()
    with RunFolder.open(tmp_path / "run", CONFIG, {}) as folder:
        assert folder.episodes.read() == ([{"a": 1}], 0)


def test_t08_a_failure_is_recorded_for_a_run_that_nobody_works_on(tmp_path: Path):
    """Whose process is gone. Where it had written nothing there is no run to speak of."""
    record_failure(tmp_path / "run", "killed")
    assert not (tmp_path / "run").exists()
    with RunFolder.open(tmp_path / "run", CONFIG, {}) as folder:
        record_failure(folder.path, "killed")
        assert folder.metrics.read() == ([], 0)
    record_failure(folder.path, "killed")
    assert folder.metrics.read() == ([{"kind": "failed", "reason": "killed"}], 0)
    with RunFolder.open(tmp_path / "run", CONFIG, {}):
        pass


def test_closing_gives_the_folder_to_the_next(tmp_path: Path):
    for _ in range(2):
        with RunFolder.open(tmp_path / "run", CONFIG, {}):
            pass


def test_a_kill_before_the_rename_leaves_the_last_good_checkpoint(tmp_path: Path):
    with RunFolder.open(tmp_path / "run", CONFIG, {}) as folder, folder.checkpoint(1) as build:
        (build / "weights").write_text("good")
    code = OPEN + (
        'with RunFolder.open(Path(sys.argv[1]), RunConfig(env="alfworld", reward="sparse"), {}) as folder:\n'
        "    with folder.checkpoint(2) as build:\n"
        '        (build / "weights").write_text("half")\n'
        "        files.os.replace = die"
    )
    child = python(code, tmp_path / "run")
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "run/checkpoints").iterdir())) == 2, "the child died too early to test anything"
    with RunFolder.open(tmp_path / "run", CONFIG, {}) as folder:
        assert [path.name for path in folder.checkpoints.iterdir()] == ["0001"]
        latest = folder.latest_checkpoint()
        assert latest is not None and latest[0] == 1
        assert (latest[1] / "weights").read_text() == "good"


def test_a_kill_while_run_json_is_written_leaves_a_folder_that_can_be_opened(tmp_path: Path):
    code = OPEN + (
        'files.os.replace = die\nRunFolder.open(Path(sys.argv[1]), RunConfig(env="alfworld", reward="sparse"), {})'
    )
    child = python(code, tmp_path / "run")
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "run/run.json").exists()
    with RunFolder.open(tmp_path / "run", CONFIG, {"panel": "ab"}) as folder:
        stored = json.loads((folder.path / "run.json").read_text())
        assert stored["facts"] == {"panel": "ab"}
        assert not list(folder.path.glob(".tmp-*"))


def test_an_exception_leaves_no_checkpoint(tmp_path: Path):
    with RunFolder.open(tmp_path / "run", CONFIG, {}) as folder:
        with pytest.raises(ZeroDivisionError), folder.checkpoint(1) as build:
            (build / "weights").write_text("half")
            raise ZeroDivisionError
        assert list(folder.checkpoints.iterdir()) == []
        assert folder.latest_checkpoint() is None


def test_a_checkpoint_under_way_is_not_the_latest(tmp_path: Path):
    with RunFolder.open(tmp_path / "run", CONFIG, {}) as folder:
        with folder.checkpoint(1):
            assert folder.latest_checkpoint() is None
        (folder.checkpoints / "notes of a person").mkdir()
        latest = folder.latest_checkpoint()
        assert latest is not None and latest[0] == 1


def test_checkpoints_are_found_replaced_and_pruned_by_number(tmp_path: Path):
    with RunFolder.open(tmp_path / "run", CONFIG, {}) as folder:
        for number in (9, 10_000, 2, 10):
            with folder.checkpoint(number) as build:
                (build / "number").write_text(str(number))
        with folder.checkpoint(10) as build:
            (build / "again").write_text("")
        latest = folder.latest_checkpoint()
        assert latest is not None and latest[0] == 10_000
        folder.prune(2)
        assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["0010", "10000"]
        assert {path.name for path in (folder.checkpoints / "0010").iterdir()} == {manifest.NAME, "again"}
        folder.prune(0)
        assert folder.latest_checkpoint() is None


def test_a_folder_of_another_configuration_or_panel_is_refused(tmp_path: Path):
    with RunFolder.open(tmp_path / "run", CONFIG, {"panel": "ab", "buckets": (1, 2), "commit": "x"}):
        pass
    before = (tmp_path / "run/run.json").read_bytes()
    same = CONFIG.model_copy(update={"batch": 7})
    with RunFolder.open(tmp_path / "run", same, {"panel": "ab", "buckets": (1, 2), "commit": "y"}):
        pass
    for config in (CONFIG.model_copy(update={"seed": 1}), build({"env": "alfworld", "reward": "ppo"})):
        with pytest.raises(UserError, match="another configuration"):
            RunFolder.open(tmp_path / "run", config, {"panel": "ab", "buckets": (1, 2)})
    with pytest.raises(UserError, match="another evaluation set"):
        RunFolder.open(tmp_path / "run", CONFIG, {"panel": "cd", "buckets": (1, 2)})
    assert (tmp_path / "run/run.json").read_bytes() == before
    with RunFolder.open(tmp_path / "run", CONFIG, {"panel": "ab", "buckets": (1, 2)}):
        pass  # a refused opener has let go of the lock


@pytest.mark.parametrize(
    ("name", "here", "was"),
    [("model", {"weights": "a"}, "another model"), ("content", "a", "another catalogue or set of games")],
)
def test_a_folder_of_another_content_under_the_same_name_is_refused(tmp_path: Path, name: str, here: object, was: str):
    with RunFolder.open(tmp_path / "run", CONFIG, {name: here}):
        pass
    with RunFolder.open(tmp_path / "run", CONFIG, {name: here}):
        pass
    for other in ({name: {"weights": "b"}}, {name: "b"}, {}):
        with pytest.raises(UserError, match=was) as caught:
            RunFolder.open(tmp_path / "run", CONFIG, other)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', '{"schema": 2, "config": {}, "facts": {}}'])
def test_a_strange_run_json_is_a_user_error(tmp_path: Path, content: str):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json"):
        RunFolder.open(tmp_path, CONFIG, {})


@pytest.mark.parametrize(
    ("schema", "remedy"), [(2, "upgrade spa-bench"), *((one, "restore") for one in (0, None, "2"))]
)
def test_t18_another_schema_is_refused_with_what_to_do(schema: object, remedy: str, tmp_path: Path):
    """There was none before the first one: that file is damaged, and no upgrade reads it."""
    (tmp_path / "run.json").write_text(json.dumps({"schema": schema, "config": {}, "facts": {}}))
    with pytest.raises(UserError, match=rf"has schema {schema!r}; this spa-bench reads 1: .*{remedy}"):
        read_run(tmp_path)


def test_a_run_with_a_setting_that_is_gone_is_told_as_another_versions(tmp_path: Path):
    with RunFolder.open(tmp_path, CONFIG, {}):
        pass
    stored = run_json(tmp_path)
    stored["config"]["ppo"]["value_coef"] = 0.1
    (tmp_path / "run.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r"written by another version of spa-bench: unknown setting ppo\.value_coef"):
        RunFolder.open(tmp_path, CONFIG, {})


VALUES = (True, False, 1, 2, 64, 0.5, 0.25, "x", {"option": 1}, [3000])
"""Of these, and of the words that it names, each setting takes one that is not its default."""


def leaves(values: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Every setting by its dotted name."""
    for key, value in values.items():
        inner = isinstance(value, dict) and value
        yield from leaves(value, f"{at}{key}.") if inner else [at + key]


def words(annotation: Any) -> list[str]:
    """The texts among the literals of a type."""
    inner = get_args(annotation)
    return [one for one in inner if isinstance(one, str)] + [word for one in inner for word in words(one)]


def otherwise(setting: str) -> RunConfig:
    """The configuration with another value there."""
    *sections, key = setting.split(".")
    kind: Any = RunConfig
    for section in sections:
        kind = kind.model_fields[section].annotation
    for value in (*VALUES, *words(kind.model_fields[key].annotation)):
        values: dict[str, Any] = CONFIG.model_dump()
        node = values
        for section in sections:
            node = node[section]
        node[key], before = value, node[key]
        with contextlib.suppress(UserError):
            if value != before:
                return build(values)
    raise AssertionError(f"no other value for {setting}")


SPEED = {
    "eval.set",  # stands for others
    "batch", "model.cache_bytes", "model.gradient_checkpointing", "ppo.microbatch", "ppo.microbatch_episodes",
    "limits.reset", "limits.step", "limits.fit", "limits.price",
}  # fmt: skip


def test_the_run_path_depends_on_every_setting_that_decides_results():
    settings = [setting for setting in leaves(CONFIG.model_dump()) if setting != "collect.async"]  # needs a server
    assert len(settings) > 40 and {"env", "reward_options", "ppo.clip", "world.options"} < set(settings)
    hashes = {setting: config_hash(otherwise(setting)) for setting in settings}
    own = config_hash(CONFIG)
    assert {setting for setting, found in hashes.items() if found == own} == SPEED | {"seed"}
    assert len(set(hashes.values())) == len(settings) - len(SPEED)


def test_where_a_served_engine_listens_and_whether_games_wait_is_no_part_of_the_run_path():
    engine = {"engine": "server", "engine_options": {"url": "http://one:8000", "served": "m"}}
    at = build({"env": "alfworld", "reward": "sparse", "model": engine})
    moved = build({"env": "alfworld", "reward": "sparse", "model": with_option(engine, url="http://two:8000")})
    other = build({"env": "alfworld", "reward": "sparse", "model": with_option(engine, served="n")})
    soon = build({"env": "alfworld", "reward": "sparse", "model": engine, "collect": {"async": True}})
    assert config_hash(at) == config_hash(moved) == config_hash(soon) != config_hash(other)


def with_option(engine: dict[str, Any], **changed: str) -> dict[str, Any]:
    return engine | {"engine_options": {**engine["engine_options"], **changed}}


def test_the_run_path_is_made_of_world_reward_seed_and_hash():
    base = run_path(Path("results"), CONFIG)
    assert base == Path("results/runs/alfworld/sparse") / f"0-{config_hash(CONFIG)}"
    assert config_hash(build({"env": "alfworld", "reward": "sparse", "seed": 5, "batch": 3})) == config_hash(CONFIG)
    assert config_hash(build({"env": "alfworld", "reward": "sparse", "ppo": {"clip": 0.3}})) != config_hash(CONFIG)
    assert len(config_hash(CONFIG)) == 8


def test_a_reward_in_a_file_has_a_folder_of_its_own_name():
    assert reward_name("some/where/mine.py:Mine") == "mine.Mine"
    config = build({"env": "alfworld", "reward": "some/where/mine.py:Mine"})
    assert run_path(Path("r"), config).parent == Path("r/runs/alfworld/mine.Mine")


@pytest.mark.parametrize("env", ["..", "../x", "/etc", "", "a/b", "C:x", "a\0b", ".hidden", "x."])
def test_no_name_leaves_the_results_folder(env: str):
    with pytest.raises(UserError, match="cannot name a folder"):
        run_path(Path("results"), build({"env": env, "reward": "sparse"}))


def test_t23_facts_hold_no_secret_no_host_and_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("HF_TOKEN", "WANDB_API_KEY", "SPA_BENCH_CACHE"):
        monkeypatch.setenv(name, f"canary-{name}")
    text = json.dumps(facts())
    assert "canary" not in text
    assert str(Path.home()) not in text
    assert socket.gethostname() not in text or len(socket.gethostname()) < 4
    assert facts()["versions"]["numpy"] == np.__version__


BUILD = """
import sys
import time
from pathlib import Path
from spa_bench.files import cache_entry
print("up", flush=True)
sys.stdin.readline()
with cache_entry(Path(sys.argv[1]), "warm-start", "ab12") as entry:
    if not entry.ready:
        time.sleep(0.3)  # long enough for the others to wait
        (entry.build / "weights").write_text("made by " + sys.argv[2])
        with open(sys.argv[1] + "/log", "a") as log:
            log.write("built ")
print((entry.path / "weights").read_text())
"""


def test_of_processes_that_want_one_cache_entry_one_builds_and_all_read(tmp_path: Path):
    children = [python(BUILD, tmp_path, number) for number in range(3)]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "up\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = {child.communicate()[0] for child in children}
    assert len(said) == 1 and said.pop().startswith("made by")
    assert (tmp_path / "log").read_text() == "built "


HOLD = """
import sys, time
from pathlib import Path
from spa_bench.files import cache_entry
with cache_entry(Path(sys.argv[1]), "warm-start", "ab12") as entry:
    print("held", flush=True)
    sys.stdin.readline()
    time.sleep(float(sys.argv[2]))
"""


class Told(list[tuple[float, str]]):
    """A stream that keeps what is written, and when."""

    def write(self, text: str) -> None:
        self.append((time.monotonic(), text))

    def flush(self) -> None:
        """Nothing is held back."""


def test_who_waits_for_a_lock_says_within_two_seconds_for_whom_and_for_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    holder = python(HOLD, tmp_path, 1.5)
    assert holder.stdin is not None and holder.stdout is not None and holder.stdout.readline() == "held\n"
    told = Told()
    monkeypatch.setattr(sys, "stderr", told)
    asked = time.monotonic()
    holder.stdin.write("go\n")
    holder.stdin.flush()
    with cache_entry(tmp_path, "warm-start", "ab12") as entry:
        assert entry.ready
    line = "".join(text for _, text in told)
    assert line == f"waiting for process {holder.pid}, which holds the lock warm-start/ab12.lock\n"
    assert 0.9 < told[0][0] - asked < 2
    holder.communicate()


def test_a_short_wait_is_not_spoken_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    holder = python(HOLD, tmp_path, 0.2)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert holder.stdin is not None
    holder.stdin.write("go\n")
    holder.stdin.flush()
    with cache_entry(tmp_path, "warm-start", "ab12") as entry:
        assert entry.ready
    assert capsys.readouterr().err == ""
    holder.communicate()


@given(st.lists(st.binary(max_size=50), max_size=4), st.sampled_from([1, 7, 1 << 20]))
@max_examples(40)
def test_the_hash_of_files_is_that_of_their_bytes_in_order(contents: list[bytes], block: int):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "BLOCK", block)
        paths = [Path(folder) / str(number) for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        assert manifest.content_hash(paths) == hashlib.sha256(b"".join(contents)).hexdigest()


def test_a_large_file_is_hashed_once_in_blocks_and_again_when_it_changes(tmp_path: Path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(32 << 20))
    before = manifest._remembered.cache_info()
    tracemalloc.start()
    first = manifest.content_hash([path])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    assert manifest.content_hash([path]) == manifest.content_hash([tmp_path / "." / "weights"]) == first
    after = manifest._remembered.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)
    path.write_bytes(bytes(31 << 20) + bytes([1]) + bytes((1 << 20) - 1))
    assert manifest.content_hash([path]) != first


def test_a_builder_that_fails_or_dies_leaves_no_cache_entry(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), cache_entry(tmp_path, "kind", "key") as entry:
        (entry.build / "half").write_text("")
        raise ZeroDivisionError
    (tmp_path / "kind/.tmp-key").mkdir()
    (tmp_path / "kind/.tmp-key/left behind").write_text("")
    with cache_entry(tmp_path, "kind", "key") as entry:
        assert not entry.ready
        assert list(entry.build.iterdir()) == []
        (entry.build / "whole").write_text("")
    with cache_entry(tmp_path, "kind", "key") as entry:
        assert entry.ready
        assert sorted(path.name for path in entry.path.iterdir()) == [manifest.NAME, "whole"]


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("SPA_BENCH_CACHE")
    assert cache_root() == tmp_path / "xdg/spa-bench"
    assert cache_root().is_dir()


def test_a_cache_that_cannot_be_made_is_a_user_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "file/below"))
    with pytest.raises(UserError, match="SPA_BENCH_CACHE"):
        cache_root()


def test_a_reader_of_a_whole_file_never_sees_a_part(tmp_path: Path):
    path = tmp_path / "run.json"
    files.write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_whole(path, "new \ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({}, "spa"),
        ({"beta": 0.1, "alpha": 1}, "spa (alpha=1, beta=0.1)"),
        ({"alpha": 0.0}, "spa (alpha=0)"),  # the same method as with alpha=0
        ({"alpha": 1e-5, "bonus": "sum", "exact": False}, "spa (alpha=1e-05, bonus=sum, exact=False)"),
        ({"alpha": float("inf")}, "spa (alpha=inf)"),
    ],
)
def test_a_method_is_called_by_its_options(options: dict[str, object], label: str):
    assert reward_label("spa", options) == label
