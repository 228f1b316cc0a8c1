"""A client of TensorFlow Serving for exports of `tfface.export`, over REST (without TensorFlow) or gRPC."""

from tfface import lazy

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "access": ("read_token",),
        "connection": ("connect",),
        "client": ("Client", "Comparison"),
        "errors": ("Refused", "ServerError", "Unavailable"),
        "image_files": ("compare_files", "embed_files"),
        "metadata": ("Metadata",),
    },
)
