"""What the site has beside docs/*.md: README and the like as pages, references made of the code.

Pages are written for GitHub, where links are paths of the repository; here they become the site's.
"""

import ast
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "glowkit"
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
}
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")
REFERENCE = "REFERENCE"  # in the navigation, where its pages go

SUBJECTS = (
    "glowkit",
    "glowkit.core",
    "glowkit.bijections",
    "glowkit.densities",
    "glowkit.nets",
    "glowkit.models",
    "glowkit.tasks",
    "glowkit.tasks.anomalies",
    "glowkit.tasks.coding",
    "glowkit.tasks.integration",
    "glowkit.tasks.lossy",
    "glowkit.tasks.resonance",
    "glowkit.data",
    "glowkit.training",
    "glowkit.sklearn",
    "glowkit.sbi",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the reference into the navigation."""
    for entry in config.nav or []:
        for title, content in entry.items():
            if content == REFERENCE:
                entry[title] = [{name: _page_of(name)} for name in SUBJECTS]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are files elsewhere, the files that are linked, and what is generated."""
    made = {target: (ROOT / source).read_text() for source, target in PAGES.items()}
    made |= {_page_of(name): _reference(name) for name in SUBJECTS}
    made["commands.md"] = _commands()
    for target, text in made.items():
        files.append(File.generated(config, target, content=text))
    for path in sorted((ROOT / "examples").glob("*.py")):
        files.append(File.generated(config, f"examples/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """The page with links to where its files are on the site."""
    here = page.file.src_uri
    source = next((path for path, target in PAGES.items() if target == here), f"docs/{here}")

    def there(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        target = PAGES.get(path, path.removeprefix("docs/"))
        return match[1] + posixpath.relpath(target, posixpath.dirname(here) or ".") + match[3]

    return LINK.sub(there, markdown)


def _page_of(name: str) -> str:
    return f"reference/{name}.md"


def _reference(name: str) -> str:
    """All public names of a package or module, each of which mkdocstrings then describes."""
    place = PACKAGE.parent / Path(*name.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    tree = ast.parse(path.read_text())
    about = (ast.get_docstring(tree) or "").partition("\n\n")[0]
    blocks = "\n\n".join(f"::: {name}.{public}" for public in _public(tree))
    return f"# {name}\n\n{about}\n\n{blocks}\n"


def _public(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("__")]
    kinds = ast.FunctionDef | ast.ClassDef
    return [n.name for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]


def _commands() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    sys.path.insert(0, str(ROOT / "src"))
    import typer

    from glowkit.cli.main import table

    group = typer.main.get_command(table)
    intro = (
        "# Commands\n\nWhat `glowkit COMMAND --help` says; in a terminal it is shown by itself."
        " Exit codes: 0 is success, 2 bad input, 130 an interruption.\n"
    )
    return intro + "".join(part for name, one in _all(group) for part in _command(name, one))


def _all(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command, those of groups too, by what is typed."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _all(command, f"{before}{name} ")
        else:
            yield before + name, command


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option"]
    words = [_metavar(one) if one.required else f"[{_metavar(one)}]" for one in arguments]
    yield f"\n## {name}\n\n    glowkit {' '.join([name, *words, '[OPTIONS]'])}\n\n{command.help}\n"
    if arguments:
        yield "\n| argument | what |\n|---|---|\n"
        for one in arguments:
            yield f"| `{_metavar(one)}` | {_cell(one.help)} |\n"
    yield "\n| option | what | by default |\n|---|---|---|\n"
    for one in options:
        names = ", ".join(f"`{word}`" for word in (*one.opts, *one.secondary_opts))
        usual = one.default
        shown = "" if usual is None or usual is False or callable(usual) else f"`{usual}`"
        yield f"| {names} | {_cell(one.help)} | {shown} |\n"


def _metavar(param: Any) -> str:
    return str(param.metavar or param.name.upper()).replace("|", " or ")


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
