"""From text to what is asked for: `load.load(sources, args, host)` evaluates Tiltfiles and yields a `Spec`."""
