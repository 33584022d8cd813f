"""The one name to depend on: livekit-agents with the dispatched flag, and its proved partner.

``python -m livekit_dispatched`` says whether this environment is patched, complete and untampered,
and whether it loses tool calls. Nothing is imported that livekit does not bring.
"""
