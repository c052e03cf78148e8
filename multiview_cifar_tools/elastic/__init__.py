"""Epochs that any number of machines share, and that go on after any break."""
