"""A training job: its description, its execution, and the container's contract around it."""
