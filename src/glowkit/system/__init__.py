"""Floor 0: files, locks and errors. Knows no torch."""
