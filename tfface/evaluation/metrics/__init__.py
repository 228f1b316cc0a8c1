"""Metrics of embeddings and of scores."""
