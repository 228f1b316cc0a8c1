"""Command-line programs: each defines flags, calls one function of the library, and prints the result."""
