"""The page of `glowkit resonance`, which needs no other file."""

import shlex
from pathlib import Path

from glowkit.cli.common import given_line
from glowkit.cli.resonance_findings import Findings, figures_of, scan_text, text_of, title_of
from glowkit.pictures.resonance import Histogram, bump_image, scan_image, sic_image
from glowkit.pictures.sheet import inline
from glowkit.system.files import write_atomically
from glowkit.training.report import page_template

ABOUT = {
    "cathode": "A classifier of the window's events against events that a flow, trained beside the"
    " window, foretells in it.",
    "anode": "The ratio of two flows' densities, one trained in the window and one beside it.",
    "cwola": "A classifier of the window's events against those on both sides of it. Wrong where"
    " features change with the mass.",
    "density": "What is rare in the background, by the flow alone. Rare is not resonant: the"
    " baseline that fails.",
    "idealised": "CATHODE with true background for what the flow foretells: the best it could do.",
    "supervised": "A classifier of many labelled events: the best it could do with a known signal.",
    "optimal": "The true ratio of signal's and background's densities. No score is better.",
}


def write_page(found: Findings, path: Path) -> None:
    """Write the page, all of it or nothing.

    Raises:
        GlowkitError: when it cannot be written.
    """
    window, mass = found.regions.window, found.events.mass
    bumps = [
        (
            name,
            ABOUT[name],
            inline(
                bump_image(
                    [
                        Histogram(f"{title_of(e.efficiency)}: {text_of(e)}", *e.histogram)
                        for e in hunt.excesses
                    ],
                    window,
                    mass,
                )
            ),
        )
        for name, hunt in found.hunts.items()
    ]
    curves = {name: (c.signal_efficiency, c.sic) for name, c in found.curves.items()}
    scan = None
    if found.scan is not None:
        method, scanned = found.scan
        significances = {
            title_of(each[0].efficiency): [e.significance for e in each]
            for each in zip(*scanned.excesses, strict=True)
        }
        picture = scan_image(scanned.windows, significances, mass)
        scan = (method, scan_text(scanned), inline(picture))
    page = page_template("resonance.html.jinja", "cli").render(
        title=f"Resonance search of {Path(found.data).name}",
        figures=figures_of(found),
        hunts=found.hunts,
        title_of=title_of,
        curves=sorted(found.curves.items(), key=lambda item: -item[1].max_sic),
        about=ABOUT,
        sic=inline(sic_image(curves)) if curves else None,
        bumps=bumps,
        scan=scan,
        command=shlex.join(["glowkit", *given_line()]),
    )
    write_atomically(path, page.encode())
