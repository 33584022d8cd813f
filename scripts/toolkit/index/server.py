"""A server that takes uploads: devpi, pypiserver and their like.

The upload itself is uv's. Credentials are in UV_PUBLISH_USERNAME and UV_PUBLISH_PASSWORD or
UV_PUBLISH_TOKEN (or TWINE_USERNAME and TWINE_PASSWORD), in the keyring, or in netrc; never in an
argument, which other users of the machine and logs could show.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from toolkit.environments.interpreter import uv
from toolkit.index.ledger import Listed
from toolkit.util import child_environment
from toolkit.util.errors import IndexConflict, Unreachable, UploadRefused, masked
from toolkit.util.files import sha256
from toolkit.util.http import basic_auth, get_body, open_session, request_errors, status_of
from toolkit.util.process import run

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, PyPISimple

    from toolkit.util.http import PreparedRequest

# Where servers show what was uploaded to an address: devpi, pypiserver, and where both differ.
SHOWN_AT = ("+simple/", "simple/", "../simple/")
_STATUS = re.compile(r"status code (\d{3})")
# A conflict too: it may be with what an attempt of ours that seemed to fail has left.
_PASSING = {"408", "409", "425", "429"}


@dataclass
class Server:
    """A server: where it takes uploads, and the simple index where it shows them.

    ``credentials`` as environment variables of uv. Use it in a ``with`` block.
    """

    upload_url: str
    simple_url: str
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def at(cls, url: str, simple_url: str | None = None) -> Server:
        """Return the server that takes uploads at ``url``, and look for its index if not named.

        Raises UploadRefused for an address with a password in it, Unreachable if nothing there
        answers as a simple index does.
        """
        url = server_address(url)
        credentials = credentials_of(os.environ)
        if simple_url is not None:
            return cls(url, server_address(simple_url), credentials)
        for place in SHOWN_AT:
            server = cls(url, urljoin(url, place), credentials)
            with server:
                if server.answers():
                    return server
        raise Unreachable(
            f"no simple index answers at {', '.join(urljoin(url, place) for place in SHOWN_AT)}",
            next_step="say where the server shows what it has: --simple URL",
        )

    def __post_init__(self) -> None:
        from pypi_simple import PyPISimple

        self._client: PyPISimple = PyPISimple(self.simple_url, session=open_session())
        if "UV_PUBLISH_PASSWORD" in self.credentials:
            self._client.s.auth = self._signed

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.s.close()

    def answers(self) -> bool:
        """Return whether there is a simple index; raises Unreachable without a connection."""
        from pypi_simple import UnsupportedContentTypeError

        try:
            self._client.get_index_page(timeout=30)
        except (UnsupportedContentTypeError, ValueError):
            return False
        except request_errors() as error:
            if status_of(error) is None:
                raise self._unusable(error) from error
            return False
        return True

    def files_of(self, project: str) -> dict[str, DistributionPackage]:
        """Return the files on the project's page by name; none if there is no page."""
        from pypi_simple import NoSuchProjectError, UnsupportedContentTypeError

        try:
            page = self._client.get_project_page(project, timeout=30)
        except NoSuchProjectError:
            return {}
        except (request_errors(), UnsupportedContentTypeError, ValueError) as error:
            raise self._unusable(error) from error
        return {package.filename: package for package in page.packages}

    def require_same(
        self, package: DistributionPackage, entry: Listed, *, read_bytes: bool
    ) -> None:
        """Raise IndexConflict unless the server has the file of ``entry``.

        The page's sha256 decides; with ``read_bytes``, or without one, the file itself.
        """
        digest = package.digests.get("sha256")
        if digest in (None, entry.sha256) and (read_bytes or digest is None):
            try:
                digest = sha256(get_body(self._client.s, package.url, entry.size))
            except request_errors() as error:
                raise self._unusable(error) from error
        if digest != entry.sha256:
            raise IndexConflict(
                f"{self.simple_url} has other bytes as {entry.filename}: their sha256 is {digest}, "
                f"not {entry.sha256}",
                next_step="published files never change: see who put it there, and who serves it",
            )

    def send(self, wheel: Path) -> str:
        """Try to upload a file once; return what went wrong, or an empty text.

        Raises UploadRefused if the server would not take it later either.
        """
        command = [uv(), "publish", "--quiet", "--no-config", "--no-attestations"]
        command += ["--trusted-publishing", "never", "--publish-url", self.upload_url]
        if self.keyring:
            command += ["--keyring-provider", "subprocess"]
        # in its folder, as uv reads a path as a pattern
        result = run(
            [*command, wheel.name],
            cwd=wheel.parent,
            env={**child_environment.for_uv(), "UV_HTTP_RETRIES": "0", **self.credentials},
            check=False,
        )
        if result.returncode == 0:
            return ""
        output = result.stderr.strip()
        status = _STATUS.search(output)
        if "Missing credentials" in output or (
            status and status[1].startswith("4") and status[1] not in _PASSING
        ):
            raise UploadRefused(
                f"{self.upload_url} does not take {wheel.name}:\n{output}",
                next_step="set UV_PUBLISH_USERNAME and UV_PUBLISH_PASSWORD, or check what they may",
            )
        return output

    @property
    def keyring(self) -> bool:
        """Whether uv is to look for the password in the keyring."""
        has_password = "UV_PUBLISH_PASSWORD" in self.credentials
        has_user = "UV_PUBLISH_USERNAME" in self.credentials
        return has_user and not has_password and shutil.which("keyring") is not None

    def _signed(self, request: PreparedRequest) -> PreparedRequest:
        """Add the credentials to a request, if it goes to the very server that they are for."""
        if urlsplit(request.url or "")[:2] != urlsplit(self.upload_url)[:2]:
            return request
        user = self.credentials.get("UV_PUBLISH_USERNAME", "__token__")
        return basic_auth(user, self.credentials["UV_PUBLISH_PASSWORD"])(request)

    def _unusable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"{self.simple_url} gives no usable answer: {masked(str(error))[:2000]}",
            next_step="look after the server, then run the same command again",
        )


def server_address(url: str) -> str:
    """Return ``url`` with a slash at its end.

    Raises UploadRefused if it is no address, or has a user or password in it.
    """
    # never repeated in a message: it may hold what it should not
    try:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise UploadRefused(
                f"the address of {parts.hostname} has credentials in it, which logs would show",
                next_step="leave them out; set UV_PUBLISH_USERNAME and UV_PUBLISH_PASSWORD instead",
            )
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        valid = False
    if not valid:
        raise UploadRefused(
            "that is no address of a server", next_step="give one that begins with https://"
        )
    return url if url.endswith("/") else f"{url}/"


def credentials_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the credentials in ``environment`` as uv's variables; twine's count too."""
    credentials = {}
    for name in ("USERNAME", "PASSWORD"):
        value = environment.get(f"UV_PUBLISH_{name}") or environment.get(f"TWINE_{name}")
        if value:
            credentials[f"UV_PUBLISH_{name}"] = value
    if token := environment.get("UV_PUBLISH_TOKEN"):
        credentials = {"UV_PUBLISH_USERNAME": "__token__", "UV_PUBLISH_PASSWORD": token}
    return credentials
