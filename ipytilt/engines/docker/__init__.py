"""The Docker engine: builds images, acts inside containers, observes them. Compose deploys (`engines.compose`).

`connect` finds the daemon; everything else happens on the threads of whoever calls.
"""
