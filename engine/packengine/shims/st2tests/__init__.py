"""The base classes of StackStorm's st2tests that pack tests use, where it is not installed."""
