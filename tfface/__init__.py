"""tfface: face-recognition training, evaluation and serving in TensorFlow and Keras."""

from tfface import lazy, registration
from tfface.cli import startup_lines

__version__ = "0.1.0"

_ROOMS = (
    "backbones",
    "classifier",
    "config",
    "data",
    "distribute",
    "evaluation",
    "export",
    "figures",
    "heads",
    "jobs",
    "losses",
    "optimizers",
    "protocols",
    "serving",
    "training",
)

__getattr__, __dir__ = lazy.exports(__name__, {**dict.fromkeys(_ROOMS, ()), "training": ("FaceModel",)})

startup_lines.drop()
registration.register()
