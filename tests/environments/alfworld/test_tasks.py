"""The loader of game folders: what it promises about manifests, missing, changed and foreign files."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spa_bench.core import UserError
from spa_bench.environments.alfworld import generate
from spa_bench.environments.alfworld.manifest import pack
from spa_bench.environments.alfworld.tasks import KINDS, Games, folder, official, read_manifest, write_manifest
from spa_bench.environments.alfworld.verify import verify

ROW = "train,a/b,pick_and_place_simple,3," + "0" * 64
HEAD = "split,key,kind,expert_steps,sha256"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return generate.ensure(train=18, valid=6)


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(original, tmp_path / "set"))


def first_file(games: Games, split: str = "train") -> Path:
    return games.path(games.tasks(split)[0])


def test_a_set_lists_its_splits_sorted_by_key_with_stable_keys(root: Path) -> None:
    games = folder(root)
    for split, size in (("train", 18), ("valid_seen", 6), ("valid_unseen", 6)):
        tasks = games.tasks(split)
        assert len(tasks) == size
        assert [task.key for task in tasks] == sorted(task.key for task in tasks)
        assert {task.split for task in tasks} == {split}
        assert all(task.key.count("/") == 1 and not task.key.startswith("/") for task in tasks)


def test_every_kind_of_task_is_named_as_upstream_names_it(root: Path) -> None:
    games = folder(root)
    for task in games.tasks("train"):
        assert KINDS[games.load(task).goal.kind] == task.kind
        assert task.key.startswith(f"{task.kind}-")


def test_the_level_json_2_1_1_may_be_part_of_the_root(root: Path) -> None:
    inner = Games(root / "json_2.1.1", folder(root).entries)
    assert inner.tasks("train") == folder(root).tasks("train")
    assert inner.path(inner.tasks("train")[0]).is_file()


def test_an_unknown_split_is_named_with_the_known_ones(root: Path) -> None:
    with pytest.raises(UserError, match=r"'test'.*train, valid_seen, valid_unseen"):
        folder(root).tasks("test")


def test_a_missing_game_stops_the_listing_with_count_example_and_fix(root: Path) -> None:
    games = folder(root)
    path = first_file(Games(root, games.entries))
    path.unlink()
    with pytest.raises(UserError, match=r"1 of 18 train games are missing") as caught:
        games.tasks("train")
    assert str(path) in str(caught.value)
    assert "generate the set again" in str(caught.value)
    assert len(games.tasks("valid_seen")) == 6


def test_a_changed_game_is_refused_when_it_is_loaded(root: Path) -> None:
    games = folder(root)
    task = games.tasks("train")[0]
    path = games.path(task)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes() + b" ")
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UserError) as caught:
        games.load(task)
    assert all(part in str(caught.value) for part in (str(path), expected, got, "generate the set again"))


def test_a_game_that_vanished_after_listing_is_named(root: Path) -> None:
    games = folder(root)
    task = games.tasks("train")[0]
    games.path(task).unlink()
    with pytest.raises(UserError, match=r"cannot read game .*No such file"):
        games.load(task)


def test_a_text_version_is_part_of_what_is_loaded(root: Path) -> None:
    games = folder(root)
    task = games.tasks("train")[0]
    versions = [games.load(task, text).text_version for text in ("2.1.1", "2.1.2", "auto")]
    assert versions == ["2.1.1", "2.1.2", "2.1.2"]


def test_a_key_is_found_in_its_split_and_only_there(root: Path) -> None:
    games = folder(root)
    task = games.tasks("valid_seen")[0]
    assert games.find(task.key) == task == games.find(task.key, "valid_seen")
    with pytest.raises(UserError, match="train"):
        games.find(task.key, "train")
    with pytest.raises(UserError, match="any split"):
        games.find("nothing/here")


def test_a_folder_without_games_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="spa-bench data get alfworld"):
        official(tmp_path)
    with pytest.raises(UserError, match=r"manifest\.csv"):
        folder(tmp_path)


def test_official_games_that_are_not_there_are_counted(tmp_path: Path) -> None:
    (tmp_path / "json_2.1.1" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match=r"3553 of 3553 train games are missing.*spa-bench data get alfworld"):
        official(tmp_path).tasks("train")


def test_the_official_manifest_has_the_papers_counts_and_opens_fast(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    start = time.process_time()
    entries = official(tmp_path).entries
    assert time.process_time() - start < 2, "no game may be parsed to list them"
    count = {split: sum(entry.task.split == split for entry in entries) for split in ("train", "valid_seen")}
    assert (count["train"], count["valid_seen"], len(entries)) == (3553, 140, 3553 + 140 + 134)
    assert all(len(entry.sha256) == (1 if entry.task.split == "train" else 2) for entry in entries)
    assert all(entry.task.expert_steps >= 3 for entry in entries)
    hashes = [digest for entry in entries for digest in entry.sha256]
    assert len(set(hashes)) == len(hashes), "splits are disjoint by content"


def test_a_manifest_survives_writing_and_reading(root: Path) -> None:
    text = (root / "manifest.csv").read_text()
    assert write_manifest(reversed(read_manifest(text, "x"))) == text
    assert pack(text) == pack(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key,split\na/b,train",
        f"{HEAD}\n{ROW},more",
        f"{HEAD}\ntrain,a/b",
        f"{HEAD}\n{ROW.replace('train', 'test')}",
        f"{HEAD}\n{ROW.replace('a/b', '../b')}",
        f"{HEAD}\n{ROW.replace('a/b', 'a/b/c')}",
        f"{HEAD}\n{ROW.replace('a/b', '/etc')}",
        f"{HEAD}\n{ROW.replace('simple', 'complex')}",
        f"{HEAD}\n{ROW.replace(',3,', ',-3,')}",
        f"{HEAD}\n{ROW[:-1]}",
        f"{HEAD}\n{ROW}\n{ROW}",
    ],
)
def test_a_damaged_manifest_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match="the-file"):
        read_manifest(text, "the-file")


def test_verification_of_a_whole_set_finds_nothing(root: Path) -> None:
    answer = verify(folder(root))
    assert answer.ok
    assert [(report.split, report.expected, report.present) for report in answer.splits] == [
        ("train", 18, 18),
        ("valid_seen", 6, 6),
        ("valid_unseen", 6, 6),
    ]


def remove_one(games: Games) -> None:
    first_file(games).unlink()


def change_one(games: Games) -> None:
    first_file(games).write_bytes(b"{}")


def add_one(games: Games) -> None:
    first_file(games).parent.parent.joinpath("trial_more").mkdir()
    shutil.copy(first_file(games, "valid_seen"), first_file(games).parent.parent / "trial_more")


@pytest.mark.parametrize(("damage", "field"), [(remove_one, "missing"), (change_one, "wrong"), (add_one, "extra")])
def test_verification_names_each_defect(root: Path, damage: Callable[[Games], None], field: str) -> None:
    games = folder(root)
    key = games.tasks("train")[0].key
    damage(games)
    answer = verify(games)
    assert not answer.ok
    found = {name: getattr(answer.splits[0], name) for name in ("missing", "wrong", "extra")}
    expected = key if field != "extra" else f"{key.split('/')[0]}/trial_more"
    assert found == {"missing": (), "wrong": (), "extra": ()} | {field: (expected,)}


def test_games_that_upstream_does_not_play_are_not_extra(root: Path) -> None:
    games = folder(root)
    stray = first_file(games).parent.parent / "trial_unsolvable"
    stray.mkdir()
    raw = json.loads(first_file(games).read_text()) | {"solvable": False}
    (stray / "game.tw-pddl").write_text(json.dumps(raw))
    answer = verify(games)
    assert answer.ok
    assert answer.splits[0].ignored == 1


def test_t12_a_game_in_two_splits_is_found_by_file_and_by_household(root: Path) -> None:
    games = folder(root)
    train, seen = games.tasks("train")[0], games.tasks("valid_seen")[0]
    raw = json.loads(games.path(train).read_text())
    raw["pddl_problem"] = raw["pddl_problem"].replace("(problem home)", "(problem renamed)")
    games.path(seen).write_text(json.dumps(raw))
    answer = verify(games)
    assert answer.shared["train", "valid_seen"] == ()
    assert answer.shared_problems["train", "valid_seen"] == (train.key,)
    shutil.copy(games.path(train), games.path(seen))
    assert verify(games).shared["train", "valid_seen"] == (train.key,)
    assert not verify(games).ok
