"""Compiled kernels: C sources, and how they become a library that this process can call."""
