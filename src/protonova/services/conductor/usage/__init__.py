"""What servers of the cell took, for those who account for it."""
