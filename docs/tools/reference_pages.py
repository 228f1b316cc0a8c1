"""The text of the API reference: a page for each package below `tfface`, with every public name once."""

import public_names

# What mkdocstrings replaces by the signature and the docstring of a name.
DIRECTIVE = "::: "


def pages() -> dict[str, str]:
    """Returns the Markdown of each page by its path in docs/."""
    names = public_names.public_names()
    files = {package: f"{package.removeprefix('tfface.')}.md" for package in names}
    rows = [
        f"| [`{package}`]({files[package]}) | {public_names.summary(package)} |"
        if package in names
        else f"| `{package}` | {public_names.summary(package)} |"
        for package in public_names.packages()
        if package.count(".") == 1
    ]
    index = ["# API reference", "| package | what is in it |\n|---|---|\n" + "\n".join(rows)]
    texts = {"reference/README.md": index}
    for package, of_package in names.items():
        rows = [f"| [`{_short(name.path, package)}`][{name.path}] | {name.summary} |" for name in of_package]
        texts[f"reference/{files[package]}"] = [
            f"# {package}",
            public_names.summary(package),
            "| name | summary |\n|---|---|\n" + "\n".join(rows),
            *(f"{DIRECTIVE}{name.path}" for name in of_package),
        ]
    return {path: "\n\n".join(blocks) + "\n" for path, blocks in texts.items()}


def _short(path: str, package: str) -> str:
    return path.removeprefix(f"{package}.")
