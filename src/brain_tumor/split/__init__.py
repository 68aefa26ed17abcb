"""Which image trains, validates and tests, and what leaks."""
