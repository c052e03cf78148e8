"""Rows as batches of arrays: NumPy first, then PyTorch, TensorFlow and JAX."""
