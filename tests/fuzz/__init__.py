"""Random well-typed programs, and the comparison of every target with the reference on them."""
