"""The program git, without the user's configuration and with the defaults of one version."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO

from toolkit.util import child_environment
from toolkit.util.errors import CommandFailed
from toolkit.util.process import communicate, run

# The first version that reads GIT_CONFIG_GLOBAL; GIT_CONFIG_COUNT came in 2.31.
NEEDED = (2, 32)

# Every setting that decides about a commit's bytes, a diff or a merge. Most are git's own defaults:
# a later version may have others, and a clone may have a configuration.
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
    """git ended with ``status`` (None: not in time), and printed ``output``."""

    def __init__(self, output: str, status: int | None) -> None:
        super().__init__(output)
        self.output = output
        self.status = status


def git(
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: IO[bytes] | None = None,
    timeout: float | None = None,
) -> bytes:
    """Return what git prints; ``env`` names the repository.

    Raises GitError, also after ``timeout`` seconds, and CommandFailed without a usable git.
    """
    check_version()
    try:
        result = communicate(
            ["git", *arguments],
            cwd=cwd,
            env={**_pinned(), **env},
            stdin=stdin,
            timeout=timeout,
        )
    except TimeoutError as error:
        raise GitError(f"git {arguments[0]} {error}", None) from error
    if result.returncode != 0:
        text = (result.stderr.strip() or result.stdout.strip()).decode("utf-8", "replace")
        raise GitError(text, result.returncode)
    return result.stdout


def git_dir_of(path: Path) -> Path:
    """Return GIT_DIR for the work tree ``path``, or for the bare repository there.

    In a worktree or a submodule that is a file, which names the folder, and which git follows.
    """
    git_dir = path.absolute() / ".git"
    return git_dir if git_dir.exists() else path.absolute()


def check_version() -> None:
    """Raise CommandFailed, with what git says of itself, unless it is there and new enough."""
    _check_version(os.environ.get("PATH", ""))


@cache
def _check_version(_path: str) -> None:
    output = run(["git", "--version"]).stdout.strip()
    match = re.match(r"git version (\d+)\.(\d+)", output)
    if match is None or (int(match[1]), int(match[2])) < NEEDED:
        needed = ".".join(map(str, NEEDED))
        raise CommandFailed(
            f"git {needed} or newer is needed, this is: {output}",
            next_step="install a newer git, or put it first in PATH",
        )


@cache
def _pinned() -> Mapping[str, str]:
    """Return variables that hide every configuration file, and give the settings instead."""
    variables = {
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
        variables[f"GIT_CONFIG_KEY_{number}"] = key
        variables[f"GIT_CONFIG_VALUE_{number}"] = value
    return variables


def network_variables() -> dict[str, str]:
    """Return what git needs besides to ask another repository, without asking for a password."""
    return {**child_environment.network(), "GIT_ASKPASS": "true", "GIT_LFS_SKIP_SMUDGE": "1"}
