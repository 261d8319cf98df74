"""The machines' side: what claims jobs, runs them in containers and brings their outcomes back."""
