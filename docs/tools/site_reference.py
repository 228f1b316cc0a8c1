"""Hook of MkDocs that adds the API reference, and an extension of griffe, which reads the docstrings for it."""

import griffe
import public_names
import reference_pages
from mkdocs.structure.files import File


def on_config(config):
    config.nav.append({"API": list(reference_pages.pages())})
    return config


def on_files(files, config):
    for path, text in reference_pages.pages().items():
        files.append(File.generated(config, path, content=text))
    return files


class OfferedNames(griffe.Extension):
    """Puts into packages what they offer by `tfface.lazy`, which static analysis does not see."""

    def on_package(self, *, pkg, **kwargs):
        for names in public_names.public_names().values():
            for name in names:
                path, _, last = name.path.rpartition(".")
                parent = pkg[path.removeprefix("tfface.")] if path != "tfface" else pkg
                if last not in parent.members:
                    parent.set_member(last, griffe.Alias(last, name.definition, parent=parent))
