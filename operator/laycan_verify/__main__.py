"""`python -m laycan_verify`, and the first module of verify.pyz: says what it needs where that is missing."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  an auditor may start the file with any Python
    sys.exit("laycan verify needs Python 3.11 or later")
try:
    from laycan_verify.cli import main
except ImportError as missing:
    sys.exit(f"laycan verify needs the Python package cryptography ({missing}): install python3-cryptography, or pip install cryptography")
sys.exit(main())
