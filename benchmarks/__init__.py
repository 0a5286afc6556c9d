"""Speed and memory of glowkit beside other libraries, a floor and an arithmetic limit.

`python -m benchmarks --help`; what the figures mean is in docs/performance.md.
"""
