"""Publishing: what is refused, what never changes, and what a crash leaves behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from publishing import (
    LOSS,
    MOMENT,
    explored,
    generated_from,
    make_pair,
    make_wheel,
    outcome,
    proof_of,
    publish_wheels,
    run_of,
    snapshot,
    subject_of,
    write_proof,
)
from pypi_simple import ProjectPage

import publish as verb
from toolkit.index.ledger import Ledger
from toolkit.index.pages import render
from toolkit.index.publish import holds, read_list
from toolkit.proof.verdict import Proof, Verdict
from toolkit.util.errors import IndexConflict, InvalidWheel, NotProved, NotWritable
from toolkit.util.files import sha256, sha256_of

SCRIPTS = Path(verb.__file__).parent


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    return make_pair(tmp_path / "wheels", "+dispatched.1")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def require_usable(index: Path) -> int:
    """Every link of every page leads to the bytes it announces; how many links there are."""
    links = 0
    for page in index.glob("simple/*/index.html"):
        text = page.read_text(encoding="utf-8")
        for package in ProjectPage.from_html(page.parent.name, text).packages:
            links += 1
            wheel = index / "files" / package.filename
            metadata = wheel.with_name(f"{wheel.name}.metadata")
            assert package.digests == {"sha256": sha256_of(wheel)}
            assert package.metadata_digests == {"sha256": sha256_of(metadata)}
    return links


def require_whole(index: Path) -> None:
    """The pages are the rendering of the list, and nothing temporary lies about."""
    for page, wanted in render(Ledger.read(index)).items():
        assert (index / page).read_bytes() == wanted
    assert list(index.rglob(".part-*")) == []
    assert require_usable(index) == len(read_list(index))


def content(index: Path) -> dict[str, str]:
    return {path: data for path, (_, data) in snapshot(index).items()}


def test_the_same_bytes_again_change_nothing(index: Path, wheels: list[Path]) -> None:
    done = publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
    assert (done.new, done.known) == (tuple(sorted(w.name for w in wheels)), ())
    require_whole(index)
    before = snapshot(index)
    done = publish_wheels(list(reversed(wheels)), proof_of(wheels), index)
    assert (done.new, sorted(done.known)) == ((), sorted(w.name for w in wheels))
    assert snapshot(index) == before


def test_a_new_proof_of_published_bytes_changes_nothing(index: Path, wheels: list[Path]) -> None:
    publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
    before = snapshot(index)
    tests = {LOSS: outcome("failed"), "test_new": outcome(check="leaks")}
    saved = {**tests, LOSS: outcome()}
    later = Verdict.of(subject_of(wheels), run_of(tests), run_of(saved), explored())
    assert later.verdict == "publish"
    assert later != proof_of(wheels)
    publish_wheels(wheels, later, index)
    assert snapshot(index) == before


def test_the_picture_goes_beside_the_verdict(
    tmp_path: Path, index: Path, wheels: list[Path]
) -> None:
    picture = tmp_path / "drawn.svg"
    proof = proof_of(wheels)
    publish_wheels(wheels, proof, index, picture=picture)
    assert list((index / "verdicts").glob("*.svg")) == []
    picture.write_text("<svg/>")
    publish_wheels(wheels, proof, index, picture=picture)
    (drawn,) = (index / "verdicts").glob("*.svg")
    assert (drawn.stem, drawn.read_text()) == ("1.8.9+dispatched.1", "<svg/>")
    before = snapshot(index)
    publish_wheels(wheels, proof, index)
    assert snapshot(index) == before


def test_what_was_made_from_a_proof_stands_beside_its_wheels(
    tmp_path: Path, index: Path, wheels: list[Path]
) -> None:
    made = make_wheel(tmp_path / "made", "livekit-dispatched", "1.8.9.1")
    generated = [generated_from(made)]
    names = sorted([*(wheel.name for wheel in wheels), made.name])
    said = {name: f'{{"of": "{name}"}}\n'.encode() for name in names}
    proof = proof_of(wheels)
    done = publish_wheels(wheels, proof, index, generated=generated, statements=said, now=MOMENT)
    assert done.new == tuple(names)
    for name in names:
        assert (index / "files" / f"{name}.provenance.json").read_bytes() == said[name]
        assert read_list(index)[name].provenance_sha256 == sha256(said[name])
    require_whole(index)
    before = snapshot(index)
    # what would be made today does not replace what was published
    other = make_wheel(tmp_path / "other", "livekit-dispatched", "1.8.9.1", {"a.py": ""})
    generated = [generated_from(other)]
    done = publish_wheels(
        wheels, proof, index, generated=generated, statements=dict.fromkeys(names, b"")
    )
    assert (done.new, done.known) == ((), tuple(names))
    assert snapshot(index) == before
    claim = Proof.of(proof)
    assert holds(index, read_list(index), claim)
    assert not holds(index, read_list(index), claim, ["another.whl"])
    for name in (f"{made.name}.provenance.json", made.name):
        damaged = index / "files" / name
        whole = damaged.read_bytes()
        damaged.write_bytes(b"damage")
        assert not holds(index, read_list(index), claim)
        with pytest.raises(IndexConflict, match="damaged"):
            publish_wheels(wheels, proof, index, generated=generated)
        damaged.write_bytes(whole)


def test_what_is_made_from_a_proof_is_checked_too(
    tmp_path: Path, index: Path, wheels: list[Path]
) -> None:
    made = make_wheel(tmp_path / "made", "livekit-dispatched", "1.8.9.1")
    generated = generated_from(made)
    for wrong in (
        replace(generated, metadata=b"no metadata"),
        replace(generated, filename=f"../{made.name}"),
        replace(generated, filename=made.name.replace("1.8.9.1", "1.8.9.2")),
    ):
        with pytest.raises(InvalidWheel):
            publish_wheels(wheels, proof_of(wheels), index, generated=[wrong])
    assert not index.exists()


def test_the_index_is_a_function_of_what_was_published(tmp_path: Path, wheels: list[Path]) -> None:
    for place in ("here", "there"):
        publish_wheels(wheels, proof_of(wheels), tmp_path / place, now=MOMENT)
    assert content(tmp_path / "here") == content(tmp_path / "there")


def test_a_lost_or_altered_page_is_made_again(index: Path, wheels: list[Path]) -> None:
    publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
    before = content(index)
    (index / "simple" / "index.html").unlink()
    (index / "simple" / "livekit-agents" / "index.json").write_text("{}")
    publish_wheels(wheels, proof_of(wheels), index)
    assert content(index) == before


def test_other_bytes_under_the_same_name(index: Path, wheels: list[Path], tmp_path: Path) -> None:
    publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
    before = snapshot(index)
    other = make_wheel(tmp_path / "other", "livekit-agents", "1.8.9+dispatched.1", {"a.py": ""})
    assert other.name == wheels[0].name
    changed = [other, wheels[1]]
    with pytest.raises(IndexConflict, match="other bytes"):
        publish_wheels(changed, proof_of(changed), index)
    assert snapshot(index) == before


@pytest.mark.parametrize("suffix", ["", ".metadata"])
@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b"x"), lambda p: p.unlink()])
def test_a_damaged_published_file(
    suffix: str, damage: Callable[[Path], object], index: Path, wheels: list[Path]
) -> None:
    publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
    damage(index / "files" / f"{wheels[0].name}{suffix}")
    before = snapshot(index)
    with pytest.raises(IndexConflict, match="damaged"):
        publish_wheels(wheels, proof_of(wheels), index)
    assert snapshot(index) == before


def test_only_what_was_proved(index: Path, wheels: list[Path], tmp_path: Path) -> None:
    proof = proof_of(wheels)
    other = make_wheel(tmp_path / "other", "livekit-agents", "1.8.9+dispatched.1", {"a.py": ""})
    more = make_wheel(tmp_path / "other", "livekit-plugins-xai", "1.8.9")
    for given, said in (
        ([other, wheels[1]], f"these bytes: {other.name}"),
        ([*wheels, more], f"these bytes: {more.name}"),
        (wheels[:1], f"{wheels[1].name} is not among"),
        ([], "is not among"),
    ):
        with pytest.raises(NotProved) as caught:
            publish_wheels(given, proof, index)
        assert said in str(caught.value)
    assert not index.exists()


@pytest.mark.parametrize("state", ["inconclusive"])
def test_no_verdict_but_publish(state: str, index: Path, wheels: list[Path]) -> None:
    with pytest.raises(NotProved, match=f"is {state}: for a reason"):
        publish_wheels(wheels, getattr(Verdict, state)(subject_of(wheels), "for a reason"), index)
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
    ],
)
def test_names_that_do_not_belong_on_a_page(name: str, index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "a", "1.0").rename(tmp_path / name)
    with pytest.raises(InvalidWheel):
        publish_wheels([wheel], proof_of([]), index)
    assert not index.exists()


@pytest.mark.parametrize("name", ["livekit_agents-1.1", "other-1.0"])
def test_files_that_are_not_what_their_name_says(name: str, index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "livekit-agents", "1.0")
    renamed = wheel.rename(tmp_path / f"{name}-py3-none-any.whl")
    for path in (renamed, tmp_path / "none.whl", tmp_path / wheel.name):
        with pytest.raises(InvalidWheel):
            publish_wheels([path], proof_of([]), index)
    assert not index.exists()


def test_a_folder_of_somebody_else(index: Path, wheels: list[Path]) -> None:
    index.mkdir()
    (index / "thesis.txt").write_text("precious")
    before = snapshot(index)
    with pytest.raises(IndexConflict, match=r"thesis\.txt"):
        publish_wheels(wheels, proof_of(wheels), index)
    assert snapshot(index) == before


def test_an_empty_folder_becomes_an_index(index: Path, wheels: list[Path]) -> None:
    index.mkdir()
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
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= 1
        real(descriptor)

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
        require_usable(index)
        left = 100
        publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
        assert content(index) == content(tmp_path / "reference")
    assert point >= 10


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from toolkit.index.bundle import Bundle
from toolkit.index.publish import publish
from toolkit.proof.verdict import Proof, Verdict

left, real = int(sys.argv[1]), Path.replace

def replace(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)

Path.replace = replace
verdict = Verdict.parse(Path(sys.argv[2]).read_text())
publish(Bundle.of([Path(a) for a in sys.argv[5:]], Proof.of(verdict),
                  now=datetime.fromisoformat(sys.argv[4])), Path(sys.argv[3]))
"""


def test_a_kill_at_any_point_leaves_a_usable_index(
    index: Path, wheels: list[Path], tmp_path: Path
) -> None:
    first = make_pair(tmp_path / "first", "+dispatched.1", "1.8.8")
    for known in (first, wheels):
        release = known[1].name.split("-")[1]
        publish_wheels(known, proof_of(known, release), tmp_path / "reference", now=MOMENT)
    proof = write_proof(tmp_path / "verdict.json", wheels)
    env = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    for point in range(100):
        shutil.rmtree(index, ignore_errors=True)
        publish_wheels(first, proof_of(first, "1.8.8"), index, now=MOMENT)
        words = [str(point), str(proof), str(index), MOMENT.isoformat(), *map(str, wheels)]
        done = subprocess.run([sys.executable, "-c", KILLED, *words], env=env, check=False)
        assert require_usable(index) >= 2
        if done.returncode == 0:
            break
        assert done.returncode == -9
        publish_wheels(wheels, proof_of(wheels), index, now=MOMENT)
        require_whole(index)
        assert content(index) == content(tmp_path / "reference")
    assert point >= 10


def test_a_kill_before_the_list_does_not_make_a_stranger(
    index: Path, wheels: list[Path], tmp_path: Path
) -> None:
    proof = write_proof(tmp_path / "verdict.json", wheels)
    words = ["0", str(proof), str(index), MOMENT.isoformat(), *map(str, wheels)]
    env = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", KILLED, *words], env=env, check=False)
    assert done.returncode == -9
    assert not (index / "index.jsonl").exists()
    publish_wheels(wheels, proof_of(wheels), index)
    require_whole(index)


def test_an_index_that_another_holds(
    index: Path, wheels: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_wheels(wheels, proof_of(wheels), index)
    more = make_pair(tmp_path / "more", "+dispatched.2")
    monkeypatch.setattr("toolkit.index.transaction.PATIENCE", 0.03)
    lock = FileLock(index / ".lock")
    with lock, pytest.raises(NotWritable, match="has held"):
        publish_wheels(more, proof_of(more), index)
    # as long as others get on, it is a queue and no hang
    others = 0

    def content_of(path: Path) -> bytes | None:
        nonlocal others
        if path.name != "index.jsonl":
            return path.read_bytes() if path.exists() else None
        others += 1
        if others == 4:
            lock.release()
        return bytes(others)

    monkeypatch.setattr("toolkit.index.transaction.read_or_none", content_of)
    lock.acquire()
    assert publish_wheels(more, proof_of(more), index).new == (more[0].name,)
    assert others == 4


def test_eight_publishers_at_once(index: Path, tmp_path: Path) -> None:
    children = []
    partner = make_pair(tmp_path / "partner")[1]
    for number in range(8):
        folder = tmp_path / str(number)
        pair = [make_pair(folder, f"+dispatched.{number}")[0], partner]
        proof = write_proof(folder / "verdict.json", pair)
        words = ["--verdict", str(proof), "--index", str(index), *map(str, pair)]
        children.append(
            subprocess.Popen(
                [sys.executable, verb.__file__, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    printed = [child.communicate()[0] for child in children]
    assert {child.returncode for child in children} == {0}, printed
    # eight, their partner, and the companion of the revision that all their verdicts name
    assert len(read_list(index)) == 10
    assert len(list((index / "verdicts").iterdir())) == 8
    assert sum(f"published      {partner.name}" in text for text in printed) == 1
    require_whole(index)


def test_another_verdict_of_the_same_revision(
    index: Path, wheels: list[Path], tmp_path: Path
) -> None:
    publish_wheels(wheels, proof_of(wheels), index)
    before = snapshot(index)
    name = "livekit-plugins-openai"
    other = [wheels[0], make_wheel(tmp_path / "other", name, "1.8.9.post1")]
    with pytest.raises(IndexConflict, match="another verdict"):
        publish_wheels(other, proof_of(other), index)
    assert snapshot(index) == before


def test_the_command_line(
    index: Path, wheels: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = write_proof(tmp_path / "verdict.json", wheels)
    words = ["--verdict", str(proof), "--index", str(index), *map(str, wheels)]
    assert verb.main(words) == 0
    printed = capsys.readouterr().out
    assert f"published      {wheels[0].name}" in printed
    assert f"pip: pip install --extra-index-url {index.as_uri()}/simple/" in printed
    assert verb.main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["new"] == []
    assert sorted(said) == ["known", "new", "pip", "uv"]


@pytest.mark.parametrize("text", [None, "", "{}", "\xff"])
def test_the_command_line_without_a_verdict(
    text: str | None,
    index: Path,
    wheels: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proof = tmp_path / "verdict.json"
    if text is not None:
        proof.write_bytes(text.encode("latin-1"))
    code = verb.main(["--verdict", str(proof), "--index", str(index), str(wheels[0])])
    assert code == NotProved.exit_code == 18
    assert "next:" in capsys.readouterr().err
    assert not index.exists()
