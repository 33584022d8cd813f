"""``publish.py``: its options, and what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from indexes import contents, publish_wheels
from publishing import MOMENT, make_pair, proof_of, snapshot, write_proof
from upstream_index import Upstream
from verbs import RunVerb
from wheels import AGENTS, make_wheel

from toolkit.index.provenance import Statement
from toolkit.util.errors import IndexConflict, NotProved
from toolkit.util.files import sha256


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Two revisions of a release, with the official partner."""
    for number in (1, 2):
        wheels = make_pair(tmp_path / str(number), f"+dispatched.{number}")
        publish_wheels(wheels, proof_of(wheels), tmp_path / "index", now=MOMENT)
    return tmp_path / "index"


def test_wheels_and_their_verdict(tmp_path: Path, run_verb: RunVerb) -> None:
    index, wheels = tmp_path / "index", make_pair(tmp_path, "+dispatched.1")
    proof = write_proof(tmp_path / "verdict.json", wheels)
    proof.with_suffix(".svg").write_text("<svg/>")
    words = ["publish", "--verdict", proof, "--index", index, *wheels]
    printed = run_verb(*words).out
    assert f"published      {wheels[0].name}" in printed
    assert f"pip: pip install --extra-index-url {index.as_uri()}/simple/" in printed
    assert "uv:  uv pip install" in printed
    assert (index / "verdicts" / "1.8.9+dispatched.1.svg").exists()
    result = run_verb(*words, "--json").json
    assert sorted(result) == ["known", "new", "pip", "uv"]
    assert (result["new"], len(result["known"])) == ([], 3)


def test_the_catalogue_names_official_wheels_that_the_verdict_does_not(
    upstream: Upstream, tmp_path: Path
) -> None:
    upstream.add_two_releases()
    upstream.run("update")
    index, wheels = tmp_path / "index", make_pair(tmp_path, "+dispatched.1")
    words = ["--verdict", write_proof(tmp_path / "verdict.json", wheels), "--index", index]
    upstream.run("publish", *words, *wheels)
    text = (index / "files" / f"{wheels[0].name}.provenance.json").read_bytes()
    name = "livekit_agents-1.8.9-py3-none-any.whl"
    assert Statement.parse(text).sources == {name: sha256(upstream.index.files[name])}


@pytest.mark.parametrize("text", [None, "", "{}", "\xff"])
def test_without_a_verdict(text: str | None, tmp_path: Path, run_verb: RunVerb) -> None:
    proof, index = tmp_path / "verdict.json", tmp_path / "index"
    if text is not None:
        proof.write_bytes(text.encode("latin-1"))
    (wheel, _) = make_pair(tmp_path, "+dispatched.1")
    result = run_verb("publish", "--verdict", proof, "--index", index, wheel)
    assert result.code == NotProved.exit_code == 18
    assert "next:" in result.err
    assert not index.exists()


def test_a_dry_run_publishes_nothing(published: Path, tmp_path: Path, run_verb: RunVerb) -> None:
    more = [make_wheel(tmp_path / "more", AGENTS, "1.8.9+dispatched.3")]
    more.append(make_pair(tmp_path / "1")[1])
    proof = write_proof(tmp_path / "verdict.json", more)
    for folder, word in ((published, "already there "), (tmp_path / "new", "would publish ")):
        before = snapshot(tmp_path)
        words = ["--index", folder, "--verdict", proof, *more, "--dry-run"]
        printed = run_verb("publish", *words).out
        assert f"would publish  {more[0].name}" in printed
        assert f"{word} {more[1].name}" in printed
        assert "pip" not in printed
        assert snapshot(tmp_path) == before
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "thesis.txt").touch()
    assert run_verb("publish", *words).code == IndexConflict.exit_code


def test_yanks(published: Path, run_verb: RunVerb) -> None:
    words = ["publish", "--index", published, "--yank", "1.8.9", "--reason", "a reason"]
    name = "livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"
    before = snapshot(published)
    assert f"would yank     {name}\n" in run_verb(*words, "--dry-run").out
    assert snapshot(published) == before
    # of one revision, while another is left
    revision = [word.replace("1.8.9", "1.8.9+dispatched.1") for word in map(str, words)]
    assert run_verb(*revision).out == f"yanked         {name}\n"
    printed = run_verb(*words).out
    assert f"yanked         {name.replace('.1-', '.2-')}\n" in printed
    assert "no patched build of this release is left" in printed
    assert run_verb(*words).out.startswith("nothing to do\n")
    words = ["publish", "--index", published, "--unyank", "1.8.9+dispatched.1"]
    assert run_verb(*words, "--dry-run").out == f"would unyank   {name}\n"
    assert run_verb(*words, "--json").json == {"left": ["1.8.9+dispatched.1"], "unyanked": [name]}


@pytest.mark.parametrize(
    "words",
    [
        ["--dry-run"],
        ["--yank", "1.8.9"],
        ["--reason", "why"],
        ["--yank", "1", "--unyank", "1", "--reason", "why"],
        ["a.whl"],
        ["--verdict", "v.json"],
        ["a.whl", "--verdict", "v.json", "--unyank", "1"],
        ["--from", ".", "--to", "https://host/"],
        ["--from", ".", "--unyank", "1"],
        ["--from", ".", "--dry-run"],
        ["--from", "a/folder/that/is/none"],
        ["--summary", "file"],
        ["--pypi", "https://host/"],
    ],
)
def test_words_that_do_not_go_together(words: list[str], tmp_path: Path, run_verb: RunVerb) -> None:
    assert run_verb("publish", "--index", tmp_path / "index", *words).code == 2
    assert not (tmp_path / "index").exists()


def test_lost_pages_are_made_again(published: Path, tmp_path: Path, run_verb: RunVerb) -> None:
    before = contents(published)
    for page in (published / "simple").rglob("index.*"):
        page.unlink()
    assert run_verb("publish", "--index", published).out == "3 files, all on their pages\n"
    assert contents(published) == before
    assert run_verb("publish", "--index", published, "--json").json == {"files": 3}
    assert run_verb("publish", "--index", tmp_path / "none").code == IndexConflict.exit_code
    assert not (tmp_path / "none").exists()
