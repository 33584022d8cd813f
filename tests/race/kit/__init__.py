"""Deterministic simulation of a Realtime session: loop, transport, server, drivers, invariants."""
