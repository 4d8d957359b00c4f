"""Sphinx configuration of the site that `make docs` builds."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "sweepgrad"
project_copyright = "sweepgrad contributors, MIT licence"
extensions = ["myst_parser", "formulas", "beyond", "pictures", "download"]
exclude_patterns = ["examples/**", "pictures/**", "lab/pictures/**", "lab/notebooks/**", "extensions/**"]
nitpicky = True

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "ziamath"

html_theme = "furo"
html_title = "sweepgrad"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
