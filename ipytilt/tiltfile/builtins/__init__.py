"""The Tilt API, one module per topic; each function is registered where it is defined (see `tiltfile.builtin`)."""
