"""The variables that a child process inherits: a list, each with its reason.

Variables that are not listed reach no child: no PYTHON*, PYTEST_*, PIP_* or GIT_*, no keys, and of
UV_* only those that say where packages come from and how to get there.
"""

from __future__ import annotations

import os
import re

# How programs and their libraries are found, and where they keep files.
_PLACES = (
    *("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME", "USERPROFILE"),
    *("TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "XDG_DATA_HOME"),
    # Windows starts next to nothing without these
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA"),
)
# What would change messages, sorting, encodings and dates.
_FIXED = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_NETWORK = (
    *(*_PROXIES, *(name.lower() for name in _PROXIES)),
    # certificates: of OpenSSL and rustls, of curl, and of git
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "CURL_CA_BUNDLE"),
    *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "SSH_AUTH_SOCK", "NETRC"),
    # a keyring program finds its service by these
    *("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "PYTHON_KEYRING_BACKEND"),
)
# Where packages come from, and whether to ask at all: these change what is resolved, so that
# `sources` puts them into the keys of what was made with them.
_INDEX, _OLD_INDEX, _OFFLINE = "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_OFFLINE"
_UV = (
    *(_INDEX, _OLD_INDEX, _OFFLINE),
    # how that index is reached: patience, certificates, credentials
    *("UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_CONCURRENT_DOWNLOADS", "UV_INSECURE_HOST"),
    *("UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_KEYRING_PROVIDER", "UV_CREDENTIALS_DIR"),
    # where uv keeps its cache, and the Pythons that it installed
    *("UV_CACHE_DIR", "UV_PYTHON_INSTALL_DIR"),
)
# Credentials for an index that has a name, as in UV_DEFAULT_INDEX=corp=https://…
_CREDENTIALS = re.compile(r"UV_INDEX_\w+_(USERNAME|PASSWORD)")


def plain() -> dict[str, str]:
    """Return the variables of every child."""
    return {**_present(_PLACES), **_FIXED}


def network() -> dict[str, str]:
    """Return what a child needs besides if it speaks to the network."""
    return _present(_NETWORK)


def for_uv() -> dict[str, str]:
    """Return what uv needs besides when it resolves and downloads."""
    credentials = {n: value for n, value in os.environ.items() if _CREDENTIALS.fullmatch(n)}
    return {**network(), **_present(_UV), **credentials}


def sources() -> tuple[dict[str, str], ...]:
    """Return what of :func:`for_uv` can change a resolution, without passwords.

    The last item describes the present settings, and is empty by default; results that were made
    with an earlier item serve as well. A resolution without a network may be older than one with
    it, and is therefore another; one with a network serves offline too.
    """
    address = os.environ.get(_INDEX) or os.environ.get(_OLD_INDEX) or ""
    index = {"index": re.sub("//[^/]*@", "//", address)} if address else {}
    offline = os.environ.get(_OFFLINE, "").lower() in ("1", "true", "t", "yes", "y", "on")
    return (index, {**index, "offline": "yes"}) if offline else (index,)


def _present(names: tuple[str, ...]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if os.environ.get(name)}
