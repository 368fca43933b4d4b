"""The six results as mathematics: predict and test; pure functions of arrays."""
