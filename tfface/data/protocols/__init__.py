"""Pairs and templates of evaluation protocols, read from their official files."""
