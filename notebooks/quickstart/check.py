"""Asks the app for its page, from this machine: a stand-in for a smoke test."""

import sys
import time
from urllib.request import urlopen

for _ in range(50):
    try:
        page = urlopen("http://localhost:8085/", timeout=2).read().decode()
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit("the app does not answer on port 8085")

print("the app answers with a heading" if "<h1>" in page else "no heading in the page")
