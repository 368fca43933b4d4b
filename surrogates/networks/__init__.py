"""Networks of PyTorch: one file per search space, with the class `Cell` that reads as its definition, and `Network`."""
