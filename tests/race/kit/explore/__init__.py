"""Every interleaving of a scenario's two ends, decided without running each one."""
