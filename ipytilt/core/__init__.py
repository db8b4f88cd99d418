"""The pure core: values and functions; no I/O, no threads, no clock, no third party (import contracts check it)."""
