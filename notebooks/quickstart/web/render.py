"""Makes page.html of greeting.txt: the kind of small build step that belongs into the container."""

from html import escape
from pathlib import Path

HERE = Path(__file__).parent
TEMPLATE = """<!doctype html>
<title>ipytilt quickstart</title>
<h1>{greeting}</h1>
<p>Served from a container.</p>
"""

if __name__ == "__main__":
    greeting = (HERE / "greeting.txt").read_text().strip()
    (HERE / "page.html").write_text(TEMPLATE.format(greeting=escape(greeting)))
    print(f"rendered: {greeting}")
