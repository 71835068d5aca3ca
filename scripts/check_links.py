"""Every relative link and image of the documentation leads somewhere: file, and heading within a page.

python scripts/check_links.py [ROOT]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PAGES = ("*.md", "docs/*.md", ".github/*.md")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown hosts make them."""
    headings = re.findall(r"^#+\s+(.*?)\s*$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(root: Path) -> Iterator[str]:
    """A line `file:line: broken link TARGET` for each link that leads nowhere."""
    for page in sorted(page for pattern in PAGES for page in root.glob(pattern)):
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
            for target in LINK.findall(line):
                name, _, anchor = target.partition("#")
                if ":" in name:  # another site
                    continue
                other = page.parent / name if name else page
                if not other.exists() or (anchor and other.suffix == ".md" and anchor not in anchors(other)):
                    yield f"{page.relative_to(root)}:{number}: broken link {target}"


def main() -> int:
    found = list(broken(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]))
    print("\n".join(found) or "all links lead somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
