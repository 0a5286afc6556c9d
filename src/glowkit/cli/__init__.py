"""Floor 8: the command line. Commands import what they need when they run."""

import sys

try:
    from glowkit.cli.main import main
except KeyboardInterrupt:  # Ctrl-C before there is a command that could say so
    print("glowkit: interrupted", file=sys.stderr)
    sys.exit(130)

__all__ = ["main"]
