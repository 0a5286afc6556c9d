"""Speed and memory of glowkit beside other libraries, a floor and an arithmetic limit.

`python -m benchmarks --help`; what the figures mean is in docs/performance.md.
"""

import os

# torch's profiler writes two lines about itself for every trace; read when torch is imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
