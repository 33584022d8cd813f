"""Errors, processes, files, strict JSON, HTTP, the console."""
