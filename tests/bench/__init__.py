"""What scripts/bench runs: Onejob beside the least that could do the same, on the same machine."""
