"""Converts weights of InsightFace's arcface_torch to a .keras file, and an encoder back to a state dict.

Examples:
  tfface import-weights --source=backbone.pth --backbone=IResNet100 --output=iresnet100.keras
  tfface import-weights --source=w600k_r50.onnx --backbone=IResNet50 --output=iresnet50.keras
  tfface import-weights --source=runs/mine --output=backbone.pth

State dicts (.pt, .pth) need torch, .safetensors files need safetensors, .onnx files need onnx. Nothing in a file is
executed.
"""

from absl import flags

from tfface.cli import program
from tfface.config import components

# ResNet50 is Keras' own network; arcface_torch has none like it.
_NAMES = [name for name in components.names("backbone") if name not in ("IResNet", "ResNet50", "SFNet", "ViT")]
_SOURCE = flags.DEFINE_string(
    "source",
    None,
    "To import: state dict, .safetensors or .onnx file. To export: run folder or .keras file.",
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "To import: .keras file to write. To export: .pt or .pth file to write.", required=True
)
_BACKBONE = flags.DEFINE_enum("backbone", None, _NAMES, "Backbone architecture of the weights.", case_sensitive=False)
_EMBEDDING_DIM = flags.DEFINE_integer("embedding_dim", 512, "Embedding dimension.", lower_bound=1)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 112, "Side of the input images, pixels.", lower_bound=56)


def main() -> None:
    # Imported here, so that --help and wrong flags answer at once.
    from tfface import backbones, config, files
    from tfface.backbones.weights import insightface

    if _OUTPUT.value.endswith((".pt", ".pth")):
        insightface.save_weights(config.load_encoder(_SOURCE.value), _OUTPUT.value)
    elif _OUTPUT.value.endswith(".keras"):
        if _BACKBONE.value is None:
            raise ValueError("--backbone is required to import weights.")
        model = getattr(backbones, _BACKBONE.value)(_EMBEDDING_DIM.value, _IMAGE_SIZE.value)
        insightface.load_weights(model, _SOURCE.value)
        with files.replacing(_OUTPUT.value) as temporary:
            # Keras saves only to names that end in .keras.
            model.save(temporary.with_suffix(".keras"))
            temporary.with_suffix(".keras").rename(temporary)
    else:
        raise ValueError(f"--output must end in .keras, .pt or .pth, got {_OUTPUT.value}.")
    print(f"written: {_OUTPUT.value}")


if __name__ == "__main__":
    program.run(main)
