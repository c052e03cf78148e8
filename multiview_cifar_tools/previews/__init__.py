"""What `preview` does."""
