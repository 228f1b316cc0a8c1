"""Looking at datasets, checking and cleaning them."""
