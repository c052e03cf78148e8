"""What `check` does."""
