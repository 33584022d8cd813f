"""Race suite and explorer on both sides give a verdict."""
