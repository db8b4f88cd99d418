"""The shell around the core: the loop, its workers and standing orders, snapshots and logs."""
