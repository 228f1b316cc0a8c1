"""Scores that do not depend on blocks, threads or the order of sums, and searches among them."""
