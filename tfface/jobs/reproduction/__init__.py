"""Reruns a table of a paper: its rows from flagfiles, each with several seeds, beside the paper's numbers."""
