"""`python -m glowkit`, for launchers such as torchrun that take a module."""

from glowkit.cli import main

if __name__ == "__main__":
    main()
