"""Names of tables, figures and audits: `<world>-<split>` and, where several share these, what tells them apart.

They depend on what is named alone, not on the order or the place of folders.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence

from spa_bench.analysis.settings import differing, digest, settings_text
from spa_bench.audit import show as audit_show
from spa_bench.audit.summary import Audit
from spa_bench.report.grid import slug
from spa_bench.report.table import Table

MEASURED = ("trajectories", "steps", "success")
"""What an audit has found; it tells two audits apart only where no setting does."""


def section_names(tables: Sequence[Table]) -> list[str]:
    """What the files of each table begin with, such as `alfworld-valid_unseen-ppo.level=token`."""
    return file_names(
        [[str(table.about["world"]), str(table.about["split"]), settings_text(table.settings)] for table in tables]
    )


def headings(tables: Sequence[Table]) -> list[str]:
    """What each table is called beside the others: its world, and the split and settings where these differ."""
    splits = defaultdict(set)
    for table in tables:
        splits[table.about["world"]].add(table.about["split"])
    return [
        ", ".join(
            [
                str(table.about["world"]),
                *([str(table.about["split"])] if len(splits[table.about["world"]]) > 1 else []),
                *([settings_text(table.settings)] if table.settings else []),
            ]
        )
        for table in tables
    ]


def audit_names(audits: Sequence[Audit]) -> list[str]:
    """What the files of each audit begin with, such as `audit-alfworld` or `audit-alfworld-seed=1`."""
    told = audit_settings(audits)
    return file_names([["audit", one.world, text] for one, text in zip(audits, told, strict=True)])


def audit_settings(audits: Sequence[Audit]) -> list[str]:
    """What tells each audit from the others of its world: what differs in its `about`, or else a digest of it."""
    worlds: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(audits):
        worlds[one.world].append(place)
    found = [""] * len(audits)
    for places in worlds.values():
        abouts = [{key: value for key, value in audits[place].about.items() if key != "world"} for place in places]
        settings = [{key: value for key, value in about.items() if key not in MEASURED} for about in abouts]
        told = differing(settings if _all_differ(settings) else abouts)
        if not _all_differ(abouts):
            told = [one | {"hash": digest(audit_text(audits[place]))} for one, place in zip(told, places, strict=True)]
        for place, text in zip(places, told, strict=True):
            found[place] = settings_text(text)
    return found


def audit_text(audit: Audit) -> str:
    """All numbers of an audit as text: equal for copies."""
    return json.dumps(audit_show.to_json(audit), sort_keys=True)


def file_names(parts: Sequence[Sequence[str]]) -> list[str]:
    """The parts of each name joined by `-`, safe in file names and labels; no two names differ only in case.

    Names that would be the same end in a digest of their parts.
    """
    names = ["-".join(slug(part) for part in one if part) for one in parts]
    return distinct(names, [json.dumps(list(one)) for one in parts])


def distinct(names: Sequence[str], contents: Sequence[str]) -> list[str]:
    """The names; those that differ from another in case at most end in a digest of their content."""
    counts = Counter(name.casefold() for name in names)
    return [
        name if counts[name.casefold()] == 1 else f"{name}-{digest(content)}"
        for name, content in zip(names, contents, strict=True)
    ]


def _all_differ(values: Sequence[object]) -> bool:
    return len({json.dumps(value, sort_keys=True) for value in values}) == len(values)
