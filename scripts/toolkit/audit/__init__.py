"""Is it official plus series?."""
