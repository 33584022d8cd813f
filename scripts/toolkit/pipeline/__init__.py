"""Releases from a name to an index."""
