"""Command-line programs: flags, one call of `tfface.jobs` or of a room below, and what is printed."""
