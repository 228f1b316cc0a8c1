"""Datasets of faces: TFRecord shards, image folders, verification pairs, and the input pipelines made of them."""

from tfface import lazy

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "images": ("check_image", "decode_image", "decode_pixels", "ensure_image"),
        "records": ("DatasetInfo", "Shard", "count_images", "parse_example", "resolve_shards"),
        "checked_records": ("BadRecord", "Records", "naming_bad_records", "open_records", "write_skipped"),
        "sources": ("Item", "Source"),
        "folders": ("FolderSource", "find_images"),
        "recordio_source": ("RecordIOSource",),
        "insightface_bin": ("BinSource",),
        "image_lists": ("ListSource",),
        "zip_folders": ("ZipSource",),
        "records_source": ("RecordsSource", "open_source"),
        "combined_sources": ("Transformed", "merged_source"),
        "aligned_source": ("AlignedSource",),
        "landmarks": ("read_landmarks", "write_landmarks"),
        "alignment": ("align", "align_image", "reference_landmarks", "similarity_transform"),
        "label_noise": ("shuffle_labels",),
        "conversion": ("convert", "convert_folder"),
        "plan": ("split_identities",),
        "export_records": ("export_folder", "export_recordio"),
        "pairs": ("Pairs", "write_pairs"),
        "pair_lists": ("read_pairs",),
        "pair_sampling": ("sample_pairs",),
        "pipeline": ("eval_dataset", "folder_dataset", "steps_per_epoch", "train_dataset"),
        "synthetic": ("render_face",),
    },
)
