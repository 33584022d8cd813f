"""Interpreters, environments as of a date, the wheel that runs here."""
