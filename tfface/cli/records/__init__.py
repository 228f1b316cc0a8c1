"""Programs that make, check and rewrite datasets; `tfrecords_tools/` launches them, `sources/` has the converters."""
