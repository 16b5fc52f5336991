"""Channel denoisers, a file each."""
