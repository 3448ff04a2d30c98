"""Constants, one file each: ROW is the row."""
