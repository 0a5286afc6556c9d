"""The pictures of a page of glowkit, as files: PREFIX-1.png, PREFIX-2.png and so on.

glowkit resonance synthetic --out resonance.html
python examples/page_pictures.py resonance.html docs/images/resonance
"""

import base64
import re
import sys
from pathlib import Path


def main(page: str, prefix: str) -> None:
    found = re.findall(r'src="data:image/png;base64,([^"]+)" alt="([^"]*)"', Path(page).read_text())
    for number, (picture, about) in enumerate(found, 1):
        path = Path(f"{prefix}-{number}.png")
        path.write_bytes(base64.b64decode(picture))
        print(f"{path}: {about}")


if __name__ == "__main__":
    main(*sys.argv[1:])
