"""Floor 6: the command line. Commands import what they need when they run."""

from glowkit.cli.main import main

__all__ = ["main"]
