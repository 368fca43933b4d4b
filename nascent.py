"""The front door: the `nascent` command line; nothing but commands."""
