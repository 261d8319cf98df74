"""All tests, the storm (`tests.chaos`) and the bench (`tests.bench`).

They run more replicas at once than a small machine has processors for: what a machine has is said
here, for all processes that they start.
"""

import os

os.environ.setdefault("ONEJOB_NODE_CPUS", "10000")
os.environ.setdefault("ONEJOB_NODE_MEMORY_MB", str(2**24))
