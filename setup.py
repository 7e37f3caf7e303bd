"""Installs ``no_time_to_train`` and ``dinov3`` with their YAML files, report page and nano weights."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "no_time_to_train/version.py").read_text(encoding="utf-8")
)[1]

# tools/try_versions.py runs the tests with these floors; what was seen stands in CONTRIBUTING.md.
REQUIRES = [
    "torch>=2.5.1",  # sam2 1.1 wants it
    "torchvision>=0.20.1",
    "lightning>=2.4",  # 2.3 needs a module that setuptools no longer has
    "jsonargparse[signatures,omegaconf]>=4.33.1",
    "filelock>=3.12",
    "huggingface-hub>=0.26",
    "numpy>=1.24.4",
    "pillow>=10.1",
    "pycocotools>=2.0.7",
    "pyyaml>=6",
    "safetensors>=0.4",
    "sam2>=1.1",
    "scipy>=1.11",
    "timm>=1.0.24",  # older ones cannot be built without memory for their weights
    "tqdm>=4.66.1",
]

EXTRAS = {
    "app": ["starlette>=0.40", "uvicorn>=0.30"],
    "matcher": ["pot>=0.9.4"],
    "eval": ["faster-coco-eval>=1.6"],
    "report": ["supervision>=0.25"],
    "parquet": ["pyarrow>=14"],
    "ray": ["ray[data]>=2.9", "pyarrow>=14"],
    "onnx": ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"],
    "openvino": ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20", "openvino>=2025.0"],
    "int8": ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20", "openvino>=2025.0", "nncf>=2.15"],
    "boxes": ["transformers>=5"],
    "bench": ["matplotlib>=3.8"],
    "notebooks": ["ipykernel>=6.29"],
    "completion": ["argcomplete>=3"],
    "dev": [
        "starlette>=0.40",
        "uvicorn>=0.30",
        "faster-coco-eval>=1.6",
        "onnx>=1.17",
        "onnxscript>=0.5",
        "onnxruntime>=1.20",
        "openvino>=2025.0",
        "nncf>=2.15",
        "transformers>=5",
        "coverage>=7.10",
        "hypothesis>=6.100",
        "mypy>=1.10",
        "playwright>=1.45",
        "pot>=0.9.4",
        "pre-commit>=3.7",
        "pyarrow>=14",
        "pytest>=8",
        "pytest-cov>=5",
        "pytest-xdist>=3.8",
        "ruff>=0.6",
        "scikit-image>=0.22",
    ],
}

setup(
    name="no-time-to-train",
    version=VERSION,
    description="Training-free, reference-based instance segmentation",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["no_time_to_train*", "dinov3*"]),
    package_data={
        "no_time_to_train": ["pl_configs/**/*.yaml", "app/page/*", "report/template/*", "weights/*"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["ntt = no_time_to_train.cli:main"]},
)
