"""Datasets of faces: TFRecord shards, image folders, verification pairs, and the input pipelines made of them."""

from tfface import lazy

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "images": ("check_image", "decode_image"),
        "records": ("DatasetInfo", "Shard", "count_images", "parse_example", "resolve_shards"),
        "writer": ("SourceImage", "stage_dataset", "write_dataset"),
        "folders": ("check_images", "find_images"),
        "landmarks": ("read_landmarks",),
        "conversion": ("convert_folder", "split_identities"),
        "pair_lists": ("Pairs", "read_pairs", "sample_pairs"),
        "pipeline": ("eval_dataset", "folder_dataset", "steps_per_epoch", "train_dataset"),
        "synthetic": ("render_face",),
    },
)
