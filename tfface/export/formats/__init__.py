"""File formats of exports: writers, and the reader that embeds with any of them."""
