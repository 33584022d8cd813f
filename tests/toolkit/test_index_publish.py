"""Publishing: what is refused, what never changes, and what a failing disk leaves behind."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from indexes import (
    SERIES,
    contents,
    generated_from,
    mark,
    proof_by,
    publish_wheels,
    require_whole,
)
from publishing import (
    LOSS,
    MOMENT,
    explored,
    make_pair,
    outcome,
    proof_of,
    run_of,
    snapshot,
    subject_of,
)
from wheels import AGENTS, PLUGIN, make_wheel

from toolkit.index.bundle import Bundle
from toolkit.index.ledger import Ledger, Status
from toolkit.index.metapackage import PROJECT, make_metapackage
from toolkit.index.publish import consume_lines, holds_all_of, publish_all
from toolkit.index.yank import yank
from toolkit.proof.verdict import Proof, Verdict
from toolkit.util.errors import IndexConflict, InvalidWheel, NotProved, NotWritable
from toolkit.util.files import sha256, sha256_of


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    return make_pair(tmp_path / "wheels", "+dispatched.1")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def another(folder: Path) -> Path:
    """Other bytes under the name of the patched wheel."""
    return make_wheel(folder / "other", AGENTS, "1.8.9+dispatched.1", {"a.py": ""})


def later_proof(wheels: list[Path]) -> Verdict:
    """A verdict over the same wheels, of another suite."""
    tests = {LOSS: outcome("failed"), "test_new": outcome(check="leaks")}
    verdict = Verdict.of(
        subject_of(wheels), run_of(tests), run_of({**tests, LOSS: outcome()}), explored()
    )
    assert verdict.verdict == "publish"
    return verdict


def test_the_same_bytes_again_change_nothing(index: Path, wheels: list[Path]) -> None:
    names = tuple(sorted(wheel.name for wheel in wheels))
    result = publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
    assert (result.new, result.known) == (names, ())
    require_whole(index)
    yank(index, "1.8.9", "a reason")
    before = snapshot(index)
    for proof in (proof_of(wheels), later_proof(wheels)):
        result = publish_wheels(wheels[::-1], proof, index)
        assert (result.new, result.known) == ((), names)
        assert snapshot(index) == before


def test_the_picture_goes_beside_the_verdict(
    tmp_path: Path, index: Path, wheels: list[Path]
) -> None:
    picture, proof = tmp_path / "drawn.svg", proof_of(wheels)
    drawn = index / "verdicts" / "1.8.9+dispatched.1.svg"
    publish_wheels(wheels, proof, index, picture=picture)
    assert not drawn.exists()
    for text in ("<svg/>", "<svg>another</svg>"):
        picture.write_text(text)
        publish_wheels(wheels, proof, index, picture=picture)
        assert drawn.read_text() == "<svg/>"
    assert drawn.with_suffix(".json").read_text() == proof.to_json()


def test_the_dependencies_of_the_proof_are_constraints(index: Path, wheels: list[Path]) -> None:
    verdict = replace(proof_of(wheels), dependencies={"openai": "2.28.0", "aiohttp": "3.13.0"})
    pins = [
        "aiohttp==3.13.0",
        f"{AGENTS}==1.8.9+dispatched.1",
        f"{PLUGIN}==1.8.9",
        "openai==2.28.0",
    ]
    constraints = index / "constraints" / "1.8.9-dispatched.1.txt"
    for _ in range(2):
        publish_wheels(wheels, verdict, index)
        assert constraints.read_text().splitlines()[1:] == pins
        assert holds_all_of(index, Ledger.read(index).files, Proof.of(verdict))
        constraints.unlink()
        assert holds_all_of(index, Ledger.read(index).files, Proof.of(verdict)) is False


def test_what_was_made_from_a_proof_stands_beside_its_wheels(
    tmp_path: Path, index: Path, wheels: list[Path]
) -> None:
    made = make_wheel(tmp_path / "made", PROJECT, "1.8.9.1")
    names = sorted([*(wheel.name for wheel in wheels), made.name])
    texts = {name: f'{{"of": "{name}"}}\n'.encode() for name in names}
    proof = proof_of(wheels)
    generated = [generated_from(made)]
    result = publish_wheels(wheels, proof, index, generated=generated, statements=texts)
    assert result.new == tuple(names)
    for name in names:
        assert (index / "files" / f"{name}.provenance.json").read_bytes() == texts[name]
        assert Ledger.read(index).files[name].provenance_sha256 == sha256(texts[name])
    require_whole(index)
    before = snapshot(index)
    # what would be made today does not replace what was published
    generated = [generated_from(make_wheel(tmp_path / "other", PROJECT, "1.8.9.1", {"a.py": ""}))]
    texts = dict.fromkeys(names, b"")
    result = publish_wheels(wheels, proof, index, generated=generated, statements=texts)
    assert (result.new, result.known) == ((), tuple(names))
    assert snapshot(index) == before
    claim = Proof.of(proof)
    assert holds_all_of(index, Ledger.read(index).files, claim)
    assert holds_all_of(index, Ledger.read(index).files, claim, ["another.whl"]) is False
    other = replace(claim, wheels={**claim.wheels, wheels[0].name: "0" * 64})
    assert holds_all_of(index, Ledger.read(index).files, other) is False


@pytest.mark.parametrize("suffix", ["", ".metadata", ".provenance.json"])
@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b"x"), lambda p: p.unlink()])
def test_a_damaged_published_file(
    suffix: str, damage: Callable[[Path], object], index: Path, wheels: list[Path]
) -> None:
    texts, proof = {wheels[0].name: b"{}"}, proof_of(wheels)
    publish_wheels(wheels, proof, index, statements=texts)
    assert holds_all_of(index, Ledger.read(index).files, Proof.of(proof))
    damage(index / "files" / f"{wheels[0].name}{suffix}")
    before = snapshot(index)
    with pytest.raises(IndexConflict, match="damaged"):
        publish_wheels(wheels, proof, index)
    assert snapshot(index) == before
    assert holds_all_of(index, Ledger.read(index).files, Proof.of(proof)) is False


def test_generated_wheels_are_checked_too(tmp_path: Path, index: Path, wheels: list[Path]) -> None:
    generated = generated_from(make_wheel(tmp_path / "made", PROJECT, "1.8.9.1"))
    name = generated.filename
    for wrong, text in (
        (replace(generated, metadata=b"no metadata"), "invalid METADATA"),
        (replace(generated, filename=f"../{name}"), "no file name for an index"),
        (replace(generated, filename=name.replace(".1-", ".2-")), f"it is {PROJECT} 1.8.9.1"),
    ):
        with pytest.raises(InvalidWheel, match=text):
            publish_wheels(wheels, proof_of(wheels), index, generated=[wrong])
    assert not index.exists()


def test_other_bytes_or_another_verdict(index: Path, wheels: list[Path], tmp_path: Path) -> None:
    publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
    before = snapshot(index)
    changed = [another(tmp_path), wheels[1]]
    with pytest.raises(IndexConflict, match="other bytes"):
        publish_wheels(changed, proof_of(changed), index)
    more = [wheels[0], make_wheel(tmp_path / "other", PLUGIN, "1.8.9.post1")]
    with pytest.raises(IndexConflict, match="another verdict"):
        publish_wheels(more, proof_of(more), index)
    assert snapshot(index) == before
    # one of two bundles that is refused stops no other
    good = make_pair(tmp_path / "2", "+dispatched.2")
    publish_wheels(good, proof_of(good), index)
    assert len(Ledger.read(index).files) == 3


def test_a_closed_project_takes_no_further_files(index: Path, tmp_path: Path) -> None:
    published, more = (make_pair(tmp_path / n, f"+dispatched.{n}") for n in "12")
    publish_wheels(published, proof_of(published), index)
    closed: tuple[Status, ...] = ("archived", "quarantined")
    for status in closed:
        mark(index, AGENTS, status, "it is fixed upstream")
        before = snapshot(index)
        with pytest.raises(IndexConflict, match=f"is {status}.*fixed upstream"):
            publish_wheels(more, proof_of(more), index)
        assert publish_wheels(published, proof_of(published), index).new == ()
        assert snapshot(index) == before
    mark(index, AGENTS, "deprecated")
    assert publish_wheels(more, proof_of(more), index).new == (more[0].name,)


def test_only_what_was_proved(index: Path, wheels: list[Path], tmp_path: Path) -> None:
    proof, other = proof_of(wheels), another(tmp_path)
    more = make_wheel(tmp_path / "other", "livekit-plugins-xai", "1.8.9")
    for given, text in (
        ([other, wheels[1]], f"these bytes: {other.name}"),
        ([*wheels, more], f"these bytes: {more.name}"),
        ([*wheels, wheels[0]], f"more than once: {wheels[0].name}"),
        (wheels[:1], f"{wheels[1].name} is not among"),
        ([], "is not among"),
    ):
        with pytest.raises(NotProved) as caught:
            publish_wheels(given, proof, index)
        assert text in str(caught.value)
    for word in ("inconclusive", "regressed", "fixed"):
        with pytest.raises(NotProved, match=f"is {word}: for a reason"):
            Bundle.of(wheels, replace(proof_by(wheels, "1.8.9", word), reason="for a reason"))
    assert not index.exists()


@pytest.mark.parametrize(
    "name",
    [
        'a"><script>-1.0-py3-none-any.whl',
        "a'b-1.0-py3-none-any.whl",
        "a b-1.0-py3-none-any.whl",
        "a%2Bb-1.0-py3-none-any.whl",
        ".hidden-1.0-py3-none-any.whl",
        "no-wheel.txt",
        "a-1.0.tar.gz",
        "a-1.1-py3-none-any.whl",
        "other-1.0-py3-none-any.whl",
        "a!b-1.0-py3-none-any.whl",
    ],
)
def test_a_file_with_another_name(name: str, index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "a", "1.0").rename(tmp_path / name)
    for path in (wheel, tmp_path / "none-1.0-py3-none-any.whl"):
        with pytest.raises(InvalidWheel):
            publish_wheels([path], proof_of([]), index)
    assert not index.exists()


def test_a_wheel_that_changes_meanwhile(index: Path, wheels: list[Path], tmp_path: Path) -> None:
    bundle = Bundle.of(wheels, Proof.of(proof_of(wheels)))
    shutil.copy(another(tmp_path), wheels[0])
    (answer,) = publish_all([bundle], index)
    assert isinstance(answer, InvalidWheel)
    assert Ledger.read(index).files == {}


def test_a_folder_of_somebody_else(index: Path, wheels: list[Path]) -> None:
    index.mkdir()
    (index / "thesis.txt").write_text("precious")
    before = snapshot(index)
    with pytest.raises(IndexConflict, match=r"thesis\.txt"):
        publish_wheels(wheels, proof_of(wheels), index)
    assert snapshot(index) == before
    (index / "thesis.txt").unlink()
    publish_wheels(wheels, proof_of(wheels), index)
    require_whole(index)


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_file_in_the_way(below: str, index: Path, wheels: list[Path]) -> None:
    index.write_text("a file")
    with pytest.raises(NotWritable):
        publish_wheels(wheels, proof_of(wheels), index / below)
    assert index.read_text() == "a file"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_read_only_folder(index: Path, wheels: list[Path]) -> None:
    index.mkdir()
    index.chmod(0o555)
    with pytest.raises(NotWritable, match="Permission denied"):
        publish_wheels(wheels, proof_of(wheels), index)
    assert list(index.iterdir()) == []


def test_a_disk_that_fills_up_at_any_point(
    index: Path, wheels: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_wheels(wheels, proof_of(wheels), tmp_path / "reference", now=MOMENT)
    left = 0

    def fsync(_: int) -> None:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= 1

    monkeypatch.setattr(os, "fsync", fsync)
    for point in range(100):
        left = point
        shutil.rmtree(index, ignore_errors=True)
        refused = None
        try:
            publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
        except NotWritable as error:
            refused = error
        if refused is None:
            break
        assert "No space left" in refused.problem
        assert "make room" in refused.next_step
        assert list(index.rglob(".part-*")) == []
        for name in Ledger.read(index).files:
            assert (index / "files" / name).is_file()
        left = 100
        publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
        assert contents(index) == contents(tmp_path / "reference")
    assert point >= 10


def test_an_index_that_another_holds(
    index: Path, wheels: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_wheels(wheels, proof_of(wheels), index)
    more = make_pair(tmp_path / "2", "+dispatched.2")
    monkeypatch.setattr("toolkit.index.transaction.PATIENCE", 0.03)
    lock = FileLock(index / ".lock")
    with lock, pytest.raises(NotWritable, match=r"another publication has held .* 0\.03 s"):
        publish_wheels(more, proof_of(more), index)
    # as long as others get on, it is a queue and no hang
    others = 0

    def read_or_none(path: Path) -> bytes | None:
        nonlocal others
        if path.name != "index.jsonl":
            return path.read_bytes() if path.exists() else None
        others += 1
        if others == 4:
            lock.release()
        return bytes(others)

    monkeypatch.setattr("toolkit.index.transaction.read_or_none", read_or_none)
    lock.acquire()
    assert publish_wheels(more, proof_of(more), index).new == (more[0].name,)
    assert others == 4


def test_consume_lines_are_exact_and_quoted(tmp_path: Path) -> None:
    wheels, folder = make_pair(tmp_path, "+dispatched.12"), tmp_path / "an index & more"
    proof, url = proof_of(wheels), folder.as_uri()
    places = [f"{url}/simple/", "--constraint", f"{url}/constraints/1.8.9-dispatched.12.txt"]
    pins = [f"{AGENTS}==1.8.9+dispatched.12", f"{PLUGIN}==1.8.9"]
    publish_wheels(wheels, proof, folder)
    lines = consume_lines(folder, Proof.of(proof))
    assert "%20" in url
    assert shlex.split(lines.pip) == ["pip", "install", "--extra-index-url", *places, *pins]
    assert shlex.split(lines.uv) == ["uv", "pip", "install", "--index", *places, *pins]
    # with the metapackage of this revision they name that, pip its very file
    other, made = (
        make_metapackage(wheels, release="1.8.9", revision=revision, series=SERIES)
        for revision in (2, 12)
    )
    publish_wheels(wheels, proof, folder, generated=[other, made])
    lines = consume_lines(folder, Proof.of(proof))
    *rest, last = shlex.split(lines.uv)
    assert (rest[-3:], last) == (places, f"{PROJECT}==1.8.9.12")
    path = folder / "files" / made.filename
    link = f"{PROJECT} @ {path.as_uri()}#sha256={sha256_of(path)}"
    assert shlex.split(lines.pip)[-1] == link
    # as others see it
    lines = consume_lines(folder, Proof.of(proof), "https://host/i/")
    assert f"{PROJECT} @ https://host/i/files/{made.filename}#" in lines.pip
    assert "https://host/i/simple/ --constraint https://host/i/constraints/" in lines.uv


def test_one_pin_for_all_wheels_of_a_platform_set(tmp_path: Path) -> None:
    names = [f"livekit_agents-2.0+d.1-cp310-abi3-{p}.whl" for p in ("win_amd64", "linux_x86_64")]
    verdict = replace(proof_of(make_pair(tmp_path), "2.0"), wheels=dict.fromkeys(names, ""))
    assert consume_lines(tmp_path, Proof.of(verdict)).uv.count(f"{AGENTS}==2.0+d.1") == 1
