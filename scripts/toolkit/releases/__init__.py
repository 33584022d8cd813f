"""Upstream's releases: PyPI, catalogue, downloads, patched and repacked."""
