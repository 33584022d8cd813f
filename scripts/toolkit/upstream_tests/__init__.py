"""Upstream's own tests on both sides."""
