"""Tests import their tables as packages below tests/."""
