"""Floor 4: Lightning around a density."""
