"""The usher: process 1 of every replica, written in C. `build OUTPUT` makes the binary."""
