"""Face datasets: TFRecord shards, image folders, verification pairs, and input pipelines."""

from tfface import lazy

# What `--batches` and `--shuffle` name.
BATCHES = ("PK",)
SHUFFLES = ("Blocks", "Buffer")

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "images.decoding": ("check_image", "decode_image", "decode_pixels", "ensure_image", "upright"),
        "records": ("DatasetInfo", "Shard", "count_images", "parse_example", "resolve_shards"),
        "order.batches": ("PK",),
        "order.shuffles": ("Blocks", "Buffer"),
        "checked_records": ("BadRecord", "Records", "naming_bad_records", "open_records", "write_skipped"),
        "checked_folders": ("ImageFolder", "naming_bad_files", "open_folder"),
        "sources.base": ("Item", "Source"),
        "sources.folders": ("FolderSource", "find_images"),
        "sources.recordio_source": ("RecordIOSource",),
        "sources.insightface_bin": ("BinSource",),
        "sources.image_lists": ("ListSource",),
        "sources.zip_folders": ("ZipSource",),
        "sources.tfrecord_source": ("TFRecordSource",),
        "sources.records_source": ("RecordsSource", "open_source"),
        "sources.combined_sources": ("Transformed", "merged_source"),
        "sources.aligned_source": ("AlignedSource",),
        "formats.landmarks": ("read_landmarks", "write_landmarks"),
        "images.alignment": ("align", "align_image", "reference_landmarks", "similarity_transform"),
        "curation.label_noise": ("shuffle_labels",),
        "conversion.convert": ("convert", "convert_folder"),
        "conversion.plan": ("split_identities",),
        "conversion.export_records": ("export_folder", "export_recordio"),
        "protocols.pairs": ("Pairs", "write_pairs"),
        "protocols.pair_lists": ("read_pairs",),
        "protocols.pair_sampling": ("sample_pairs",),
        "origins": ("naming_bad_data",),
        "pipeline": ("eval_dataset", "folder_dataset", "steps_per_epoch", "train_dataset"),
        "synthetic.rendering": ("render_face",),
    },
)
