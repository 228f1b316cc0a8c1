"""Hook of MkDocs for code within text: a public name links its entry of the reference, a flag stays on one line."""

import re

import public_names

PATHS = {name.path for names in public_names.public_names().values() for name in names}
# Code that is not in a link already, nor in a block, whose tag ends by a quote.
_NAME = re.compile(r'(?<!">)<code>(tfface\.[\w.]+)</code>')
_CODE = re.compile(r"<code>[^<]*</code>")
# Browsers break lines behind a hyphen.
_FLAG = re.compile(r"(?<![\w-])--?[a-z][\w-]*=?")


def on_page_content(html, page, config, files):
    html = _CODE.sub(lambda code: _FLAG.sub(r'<span class="flag">\g<0></span>', code[0]), html)
    return _NAME.sub(_reference, html)


def _reference(code):
    return f'<autoref identifier="{code[1]}">{code[0]}</autoref>' if code[1] in PATHS else code[0]
