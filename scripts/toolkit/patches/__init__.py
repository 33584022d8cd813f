"""Series.toml, patch files, applying, exporting, git."""
