"""The pure core: values and functions. No I/O, no threads, no clock, no third party (checked by the import contracts)."""
