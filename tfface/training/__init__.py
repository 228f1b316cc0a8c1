"""Training: the model that Keras trains, its callbacks and its checkpoints."""

from tfface import lazy, needs_tensorflow  # noqa: F401

SERIALIZABLE = {"face_model": ("FaceModel",)}

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "callbacks": (),
        "checkpoints.class_weights": ("read_class_weights",),
        "face_model": ("FaceModel",),
        "tfface.optimizers": ("LAMB", "RowSGD"),
    },
)
