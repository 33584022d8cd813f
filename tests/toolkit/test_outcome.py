"""What became of a release is remembered whole, or not at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from packaging.tags import sys_tags
from publishing import make_pair, proof_of

from toolkit.candidate import Proof
from toolkit.catalogue import Row
from toolkit.errors import EnvironmentUnresolvable, PatchConflict
from toolkit.outcome import Judged, Outcomes
from toolkit.platforms import fitting


@pytest.fixture
def judged(tmp_path: Path) -> tuple[Judged, Proof]:
    verdict = proof_of(make_pair(tmp_path / "w", "+dispatched.1"))
    return Judged.of(verdict), Proof.of(verdict)


def test_a_verdict_comes_back(tmp_path: Path, judged: tuple[Judged, Proof]) -> None:
    short, proof = judged
    outcomes = Outcomes(tmp_path / "o")
    assert outcomes.read("key") is None
    outcomes.write("key", short, proof)
    assert outcomes.read("key") == short
    assert outcomes.proof("key", short) == proof


def test_a_conflict_comes_back(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "o")
    outcomes.write("key", PatchConflict("does not fit", next_step="refresh"))
    found = outcomes.read("key")
    assert isinstance(found, PatchConflict)
    assert (found.problem, found.next_step) == ("does not fit", "refresh")


def test_damage_is_as_if_nothing_were_known(tmp_path: Path, judged: tuple[Judged, Proof]) -> None:
    short, proof = judged
    outcomes = Outcomes(tmp_path / "o")
    outcomes.write("key", short, proof)
    (tmp_path / "o" / "key.verdict.json").write_bytes(proof.data + b" ")
    assert outcomes.proof("key", short) is None
    document = json.loads((tmp_path / "o" / "key.json").read_text())
    changes: list[dict[str, object]] = [{"format": 2}, {"more": 1}, {"revision": "1"}, {"proof": 0}]
    for change in changes:
        (tmp_path / "o" / "key.json").write_text(json.dumps({**document, **change}))
        assert outcomes.read("key") is None


def test_only_the_recorded_revision_fits(judged: tuple[Judged, Proof]) -> None:
    short, _ = judged
    assert list(short.row.wheels) == ["livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"]
    assert short.fits(None)
    assert short.fits(Row(1, "another series with these bytes", short.row.wheels))
    assert not short.fits(Row(2, short.series, short.row.wheels))
    assert not short.fits(Row(1, short.series, {}))


def test_no_wheel_for_this_machine() -> None:
    pure = [Path("a-1-py3-none-any.whl"), Path("b-1-py3-none-any.whl")]
    assert fitting(pure) == pure
    with pytest.raises(EnvironmentUnresolvable, match="a has no wheel for this machine"):
        fitting([Path("a-1-cp310-abi3-plan9_mips.whl"), pure[1]])


def test_the_best_wheel_of_a_set() -> None:
    first, *_, last = (tag for tag in sys_tags() if tag.platform != "any")
    wheels = [Path(f"a-1-{tag}.whl") for tag in (last, "cp310-abi3-plan9_mips", first)]
    assert fitting(wheels) == [wheels[2]]
    # by the tags of a Python that is named, not those of the running one
    named = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert fitting(wheels, named) == [wheels[2]]
