"""Publish, yank, retire, undo and repair in any order, each of them killed anywhere.

A second index is changed in the same way and nobody is killed there: both must be the same, byte
for byte, and say what a model of dictionaries says.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from indexes import contents, fixed_bundle, look, make_index, pair_bundle, require_whole
from packaging.version import Version
from publishing import MOMENT, snapshot
from wheels import AGENTS

from toolkit.index.bundle import Bundle
from toolkit.index.ledger import Ledger, retirement_reason
from toolkit.index.metapackage import PROJECT
from toolkit.index.publish import holds_all_of, publish, publish_all
from toolkit.index.retire import UNDONE, Retirement, retire, undo
from toolkit.index.yank import unyank, yank
from toolkit.util.errors import ToolkitError

# Shrinking would take minutes, and a run has ten steps at most.
SETTINGS = settings(
    derandomize=True,
    deadline=None,
    max_examples=20,
    stateful_step_count=10,
    phases=[Phase.generate],
)
RELEASES = st.sampled_from(["1.0.0", "1.0.1", "1.0.2", "1.1.0rc1"])
REVISIONS = st.integers(1, 2)
# Before which writes a change is killed, one try after the other, until it may end.
KILLS = st.lists(st.integers(0, 6) | st.integers(7, 20), max_size=2)
Change = Callable[..., Any]


@cache
def wheels() -> Path:
    return Path(tempfile.mkdtemp())


@cache
def patched(release: str, revision: int) -> Bundle:
    return pair_bundle(wheels(), release, revision=revision)


@cache
def fixed(release: str) -> Bundle:
    return fixed_bundle(wheels(), release)


class Own(NamedTuple):
    """Of which release and revision a file is; ``local`` is a patched wheel, 0 a last one."""

    release: Version
    revision: int
    local: bool


def result_of(change: Change, index: Path, **flags: bool) -> object:
    """What a change returns or raises."""
    try:
        return change(index, **flags)
    except ToolkitError as error:
        return type(error)


def killed(change: Change, index: Path, point: int) -> bool:
    """Make a change, and leave the index as a kill before its ``point``-th write would.

    Whether it came so far.
    """
    state, real, writes = index.with_name("killed"), Path.replace, 0

    def replace(draft: Path, target: Path) -> Path:
        nonlocal writes
        if writes == point:
            shutil.copytree(index, state)
        writes += 1
        return real(draft, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        result_of(change, index)
    if not state.exists():
        return False
    shutil.rmtree(index)
    state.rename(index)
    return True


class Index(RuleBasedStateMachine):
    kills = 0

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.index = make_index(self.root / "index")
        self.reference = make_index(self.root / "reference")
        self.own: dict[str, Own] = {}
        self.files: set[str] = set()
        self.yanked: dict[str, str] = {}
        self.marks: dict[str, str] = {}
        self.ends: dict[str, Bundle] = {}
        self.publish("1.0.0", 1, [])

    def teardown(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def change(
        self, change: Change, kills: list[int], *, foretold: bool = True, ordered: bool = False
    ) -> object:
        """Make a change in both indexes; in the one after kills, each of which is looked at.

        ``foretold``: it has a dry run. ``ordered``: while it goes on, clients may choose no wheel
        without what it pins; the end of a series yanks pairs and leaves their metapackages.
        """
        text = (self.index / "index.jsonl").read_bytes()
        before = snapshot(self.index)
        told = result_of(change, self.index, dry_run=True) if foretold else None
        assert snapshot(self.index) == before
        for point in kills:
            Index.kills += killed(change, self.index, point)
            assert (self.index / "index.jsonl").read_bytes().startswith(text)
            look(self.index)
            if ordered and not self.ends:
                look(self.index, yanked=False)
            retold = result_of(change, self.index, dry_run=True) if foretold else None
            assert isinstance(retold, type(told))
        result, wanted = result_of(change, self.index), result_of(change, self.reference)
        assert contents(self.index) == contents(self.reference)
        now = (self.index / "index.jsonl").read_bytes()
        assert now.startswith(text)
        assert not isinstance(wanted, Retirement) or bool(wanted) == (now != text)
        assert not foretold or told == wanted
        assert kills or result == wanted
        again = snapshot(self.index)
        result_of(change, self.index)
        assert snapshot(self.index) == again, "the second time changes nothing"
        return wanted

    @invariant()
    def whole(self) -> None:
        assert require_whole(self.index) == len(self.files)
        look(self.index)
        ledger = Ledger.read(self.index)
        assert set(ledger.files) == self.files
        assert ledger.yanked == self.yanked
        assert {project: mark.reason for project, mark in ledger.statuses.items()} == self.marks
        names = {*ledger.files} - {*ledger.yanked}
        assert {n for n, entry in ledger.files.items() if ledger.offers(entry)} == names

    @rule(release=RELEASES, revision=REVISIONS, kills=KILLS)
    def publish_release(self, release: str, revision: int, kills: list[int]) -> None:
        self.publish(release, revision, kills)

    def publish(self, release: str, revision: int, kills: list[int]) -> None:
        bundle = patched(release, revision)
        self.change(partial(publish, bundle), kills, ordered=True)
        names = {wheel.entry.filename: wheel.entry for wheel in bundle.wheels}
        ledger, version = Ledger.read(self.index), Version(release)
        assert holds_all_of(self.index, ledger.files, bundle.proof, also=names)
        if names.keys() - self.files and not version.is_prerelease:
            ended = {retirement_reason(end): Version(end) for end in self.ends}
            self.marks = {
                project: reason
                for project, reason in self.marks.items()
                if version <= ended[reason]
            }
        self.files |= names.keys()
        for name, entry in names.items():
            self.own[name] = Own(version, revision, entry.project != PROJECT)

    @rule(release=RELEASES, revision=st.none() | REVISIONS, kills=KILLS, back=st.booleans())
    def yank(self, release: str, revision: int | None, kills: list[int], back: bool) -> None:
        named = f"{release}+dispatched.{revision}" if revision else release
        if back:
            change: Change = partial(unyank, release=named, now=MOMENT)
        else:
            change = partial(yank, release=named, reason="a reason", now=MOMENT)
        result = self.change(change, kills, ordered=True)
        for name, own in self.own.items():
            if own.release == Version(release) and revision in (None, own.revision):
                assert not isinstance(result, type)
                if back:
                    self.yanked.pop(name, None)
                else:
                    self.yanked.setdefault(name, "a reason")

    @rule(release=st.sampled_from(["1.0.1", "1.0.2"]), kills=KILLS)
    def retire(self, release: str, kills: list[int]) -> None:
        bundle, reason, version = fixed(release), retirement_reason(release), Version(release)
        self.change(partial(retire, bundle=bundle, now=MOMENT), kills)
        last = [wheel.entry.filename for wheel in bundle.wheels]
        self.ends[release] = bundle
        self.files |= set(last)
        self.own[last[-1]] = Own(version, 0, False)
        for name, own in self.own.items():
            ends = own.release <= version if own.local else own.release == version
            if ends and name not in last:
                self.yanked.setdefault(name, reason)
        for name in last:
            if self.yanked.get(name) == UNDONE:
                del self.yanked[name]
        self.marks = {wheel.entry.project: reason for wheel in bundle.wheels}

    @rule(kills=KILLS)
    def undo(self, kills: list[int]) -> None:
        self.change(partial(undo, now=MOMENT), kills, foretold=False)
        reasons = set(map(retirement_reason, self.ends))
        for bundle in self.ends.values():
            for entry in (wheel.entry for wheel in bundle.wheels):
                if entry.project in (AGENTS, PROJECT):
                    self.yanked.setdefault(entry.filename, UNDONE)
        self.yanked = {name: why for name, why in self.yanked.items() if why not in reasons}
        self.marks.clear()

    @rule(page=st.integers(0, 7), lost=st.booleans())
    def repair(self, page: int, lost: bool) -> None:
        pages = sorted((self.index / "simple").rglob("index.*"))
        path = pages[page % len(pages)]
        path.unlink() if lost else path.write_text("altered")
        self.change(partial(publish_all, []), [], foretold=False)


def test_any_order_of_changes_killed_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    # no plug is pulled here
    monkeypatch.setattr(os, "fsync", lambda _: None)
    run_state_machine_as_test(Index, settings=SETTINGS)
    assert Index.kills > 20
