"""The log: cursors, reading by snapshot, appending snapshots, and the partitions it is kept in."""
