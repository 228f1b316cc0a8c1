"""The order in which training reads records: shuffled blocks, a shuffle buffer, or batches of P identities."""
