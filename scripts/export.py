"""Exports a trained encoder as a SavedModel for TensorFlow Serving and other programs.

Example:
  python scripts/export.py --model=runs/quickstart --output=exported/quickstart/1
"""

from absl import flags

from tfface import cli

_MODEL = flags.DEFINE_string("model", None, "Run folder of scripts/train.py, or .keras file.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "SavedModel folder to make, such as NAME/1.", required=True)


def main():
    # Imported here, so that --help and wrong flags answer at once.
    from tfface.export import saved_model
    from tfface.training import load_encoder

    encoder = load_encoder(_MODEL.value)
    saved_model(encoder, _OUTPUT.value)
    (_, height, width, _), (_, dim) = encoder.input_shape, encoder.output_shape
    print(f"Wrote {_OUTPUT.value}")
    print(f"  serving_default: image_bytes [N] string -> embedding [N, {dim}] float32")
    print(f"  aligned: image [N, {height}, {width}, 3] float32 in [-1, 1] -> embedding [N, {dim}] float32")
    print(f"Next: saved_model_cli show --dir={_OUTPUT.value} --all")


if __name__ == "__main__":
    cli.run(main)
