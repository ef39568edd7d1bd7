"""The inference container's contract: a model behind HTTP."""
