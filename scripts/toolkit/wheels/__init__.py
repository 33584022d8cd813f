"""Wheel files as bytes."""
