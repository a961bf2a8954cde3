"""Build FDSS: one distribution, one import name ``fdss``, from fdss/, client/ and cli/."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

PARTS = {"fdss": "fdss", "fdss.client": "client", "fdss.cli": "cli"}
HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "fdss/__init__.py").read_text("utf-8"))
assert VERSION is not None

setup(
    name="fdss",
    version=VERSION[1],
    description="Serve HuggingFace datasets of one host to every training process that needs them.",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    package_dir=PARTS,
    packages=[
        ".".join((name, *rest))
        for name, folder in PARTS.items()
        for rest in ((), *((found,) for found in find_packages(folder)))
    ],
    package_data={"fdss": ["py.typed"], "fdss.web": ["templates/*.html", "static/*"]},
    entry_points={"console_scripts": ["fdss=fdss.cli.main:main"]},
    install_requires=[
        "click>=8.1.8",
        "cryptography>=44.0.1",
        "datasets>=4.5",
        "flask>=3.0",
        "ifaddr>=0.2",
        "numpy>=1.26",
        "orjson>=3.11.7",
        "platformdirs>=4.2",
        "prometheus-client>=0.13",
        "pyarrow>=21",
        "pyyaml>=6.0.1",
        "redis>=5.2.1",
        "requests>=2.32.4",
        "tqdm>=4.66.3",
        "urllib3>=2.0.2",
        "waitress>=3.0.2,<3.1",
        "zeroconf>=0.131",
    ],
    classifiers=[
        "Operating System :: Microsoft :: Windows",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
