"""What one does with Multi-view CIFAR beyond loading it; the command line starts here too."""

__version__ = "1.0.0"
