"""Package definition of tfface.

TensorFlow comes in several distributions that install the same module (`tensorflow`, `tensorflow-cpu`, ...). A hard
requirement on one of them would put a second copy beside another, so the choice is an extra: `tfface[cpu]`,
`tfface[gpu]` or, where TensorFlow is already installed, plain `tfface`.
"""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
TENSORFLOW = ">=2.18,<2.22"

# Read, not imported: nothing that tfface imports need be there when it is built.
(VERSION,) = re.findall(r'^__version__ = "(.+)"$', (ROOT / "tfface" / "__init__.py").read_text(encoding="utf-8"), re.M)

setup(
    name="tfface",
    version=VERSION,
    description="Face-recognition training, evaluation and serving in TensorFlow and Keras",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=["tfface", "tfface.*"]), "tfface.experiments"],
    # A folder of flagfiles only: `--flagfile=quickstart.flags` finds them in every installation (tfface/flagfiles.py).
    package_dir={"tfface.experiments": "scripts/flagfiles"},
    package_data={
        "tfface": ["py.typed"],
        "tfface.cli": ["paper_results.csv"],
        "tfface.experiments": ["*.flags", "*/*.flags"],
    },
    entry_points={"console_scripts": ["tfface = tfface.cli.main:main"]},
    install_requires=[
        "keras>=3.8,<3.16",
        "numpy>=1.26",
        "pandas>=2.1",
        "absl-py>=2.0",
        "google-crc32c>=1.5",
        "matplotlib>=3.8",
        "pillow>=10.0",
        "tensorboard>=2.18",
        "tqdm>=4.65",
    ],
    extras_require={
        # No tensorflow-cpu wheels exist for macOS; there the plain package is CPU-only anyway.
        "cpu": [
            f"tensorflow-cpu{TENSORFLOW}; platform_system != 'Darwin'",
            f"tensorflow{TENSORFLOW}; platform_system == 'Darwin'",
        ],
        "gpu": [f"tensorflow[and-cuda]{TENSORFLOW}"],
        "beam": ["apache-beam>=2.60"],
        "detection": ["mtcnn>=1.0"],
        "import": ["torch>=2.4", "onnx>=1.16", "safetensors>=0.4"],
        # The stubs, tensorflow-serving-api, ask for the plain tensorflow: they are installed apart, with --no-deps.
        "serving": ["grpcio>=1.60"],
        "onnx": ["tf2onnx>=1.16", "onnx>=1.16", "onnxruntime>=1.18"],
        # Pages from docs/ and docstrings; these read the sources, so that TensorFlow is not needed.
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.7", "mkdocstrings[python]>=1.0", "ruff>=0.9"],
        "test": [
            "pytest>=8.0",
            "pytest-xdist>=3.5",
            "pyyaml>=6.0",
            "scikit-learn>=1.4",
            # To execute the notebooks.
            "ipykernel>=6.20",
            "nbclient>=0.8",
        ],
    },
    keywords=[
        "face recognition",
        "face verification",
        "metric learning",
        "ArcFace",
        "InsightFace",
        "Partial FC",
        "IJB",
        "TensorFlow",
        "Keras",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
