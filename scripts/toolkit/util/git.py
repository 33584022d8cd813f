"""The program git, as if nobody had configured it and no later version had other defaults."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import IO

from toolkit.util import inherited
from toolkit.util.errors import CommandFailed
from toolkit.util.process import child_process, run

# the first one that reads GIT_CONFIG_GLOBAL; GIT_CONFIG_COUNT came in 2.31
NEEDED = (2, 32)
_INSTALL = "install a newer git, or put it first in PATH"

# Everything that decides about a commit's bytes, a diff or a merge. git's own defaults where
# nothing is said: they may be others in a later version, and a clone may have its own.
_SETTINGS = {
    # files come and go as they are
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.safecrlf": "false",
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.bigFileThreshold": "512m",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    # nothing else runs: no hook, daemon, pager, signature or upkeep
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.pager": "cat",
    "core.askPass": "true",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "rerere.enabled": "false",
    "submodule.recurse": "false",
    "feature.manyFiles": "false",
    "feature.experimental": "false",
    # these repositories live for seconds
    "core.fsync": "none",
    "core.looseCompression": "0",
    # how a repository is made
    "init.defaultObjectFormat": "sha1",
    "init.defaultRefFormat": "files",
    "core.sparseCheckoutCone": "true",
    "index.sparse": "false",
    # how a difference is found and written
    "core.abbrev": "7",
    "core.quotePath": "true",
    "color.ui": "false",
    "diff.algorithm": "myers",
    "diff.context": "3",
    "diff.interHunkContext": "0",
    "diff.indentHeuristic": "true",
    "diff.mnemonicPrefix": "false",
    "diff.noPrefix": "false",
    "diff.srcPrefix": "a/",
    "diff.dstPrefix": "b/",
    "diff.renames": "true",
    "diff.relative": "false",
    "diff.ignoreSubmodules": "none",
    "diff.suppressBlankEmpty": "false",
    "diff.wsErrorHighlight": "none",
    # how a commit becomes a mail, and a mail a commit
    "format.coverFromDescription": "message",
    "format.encodeEmailHeaders": "true",
    "format.filenameMaxLength": "64",
    "format.forceInBodyFrom": "false",
    "format.mboxrd": "false",
    "format.notes": "false",
    "format.numbered": "auto",
    "format.suffix": ".patch",
    "format.thread": "false",
    "format.useAutoBase": "false",
    "log.mailmap": "false",
    "log.showSignature": "false",
    "mailinfo.quotedCr": "nowarn",
    "mailinfo.scissors": "false",
    "am.keepcr": "true",
    "am.threeWay": "false",
    "apply.ignoreWhitespace": "no",
    "apply.whitespace": "warn",
    "core.whitespace": "blank-at-eol,space-before-tab,blank-at-eof",
    "commit.cleanup": "default",
    "commit.verbose": "false",
    # how two versions are merged
    "merge.conflictStyle": "diff3",
    "merge.directoryRenames": "conflict",
    "merge.renames": "true",
    "merge.renormalize": "false",
    "merge.verbosity": "2",
}


class GitError(Exception):
    """git ended with ``status`` (None: not in time), and ``said`` why."""

    def __init__(self, said: str, status: int | None) -> None:
        super().__init__(said)
        self.said = said
        self.status = status


def git(
    *words: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    timeout: float | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> bytes:
    """What git prints; ``env`` names the repository. While it works, ``meanwhile`` is called.

    Raises GitError, also after ``timeout`` seconds, and CommandFailed without a usable git.
    """
    check_version()
    pipes = subprocess.PIPE, subprocess.PIPE
    with child_process(["git", *words], cwd, {**_pinned(), **env}, *pipes, stdin) as child:
        meanwhile()
        try:
            out, err = child.communicate(None, timeout)
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git {words[0]} did not end within {timeout:g} s", None) from error
    if child.returncode != 0:
        text = (err.strip() or out.strip()).decode("utf-8", "replace")
        raise GitError(text, child.returncode)
    return out


def git_dir_of(path: Path) -> Path:
    """Where the repository around the work tree ``path``, or the bare one there, has its data.

    In a worktree or a submodule that is a file that names the place, which git follows.
    """
    home = path.absolute() / ".git"
    return home if home.exists() else path.absolute()


def check_version() -> None:
    """Raise CommandFailed, with what was found, unless git is there and new enough."""
    _check(os.environ.get("PATH", ""))


@cache
def _check(_path: str) -> None:
    said = run(["git", "--version"]).stdout.strip()
    found = re.match(r"git version (\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < NEEDED:
        needed = ".".join(map(str, NEEDED))
        raise CommandFailed(f"git {needed} or newer is needed, this is: {said}", next_step=_INSTALL)


@cache
def _pinned() -> Mapping[str, str]:
    """Variables that hide every file of configuration, and say what would stand there."""
    pinned = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_DEFAULT_REF_FORMAT": "files",
        "GIT_EDITOR": "true",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(_SETTINGS)),
    }
    for number, (key, value) in enumerate(_SETTINGS.items()):
        pinned[f"GIT_CONFIG_KEY_{number}"] = key
        pinned[f"GIT_CONFIG_VALUE_{number}"] = value
    return pinned


def network_variables() -> dict[str, str]:
    """What git needs besides if it speaks to another repository, and what keeps it from asking."""
    return {**inherited.network(), "GIT_ASKPASS": "true", "GIT_LFS_SKIP_SMUDGE": "1"}
