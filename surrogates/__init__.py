"""Search spaces, and what an architecture scores in them."""
