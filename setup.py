"""Installs the packages ``no_time_to_train`` and ``dinov3`` with their YAML files and nano weights."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "no_time_to_train/__init__.py").read_text())[1]

EXTRAS = {
    "matcher": ["pot>=0.9.4"],
    "eval": ["faster-coco-eval>=1.6"],
    "report": ["supervision>=0.25"],
    "dev": [
        "faster-coco-eval>=1.6",
        "hypothesis>=6.100",
        "mypy>=1.10",
        "pot>=0.9.4",
        "pytest>=8",
        "pytest-xdist>=3.5",
        "ruff>=0.6",
        "scikit-image>=0.22",
    ],
}

setup(
    name="no-time-to-train",
    version=VERSION,
    description="Training-free, reference-based instance segmentation",
    long_description=(HERE / "README.md").read_text() if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["no_time_to_train*", "dinov3*"]),
    package_data={"no_time_to_train": ["pl_configs/**/*.yaml", "report/template/*", "weights/*"]},
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "lightning>=2.2",
        "jsonargparse[signatures,omegaconf]>=4.33",
        "numpy>=1.24",
        "pillow>=10",
        "pycocotools>=2.0.7",
        "pyyaml>=6",
        "safetensors>=0.4",
        "sam2>=1.1",
        "scipy>=1.11",
        "timm>=1.0.20",
        "tqdm>=4.66",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["ntt = no_time_to_train.cli:main"]},
)
