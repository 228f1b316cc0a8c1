"""Measures latency and throughput of a served model, by batch size and concurrency.

    python benchmarks/serving.py --server=http://localhost:8501 --model=quickstart
    python benchmarks/serving.py --server=grpc://localhost:8500 --model=quickstart --images=photos --output=serving.csv

The load is closed: so many clients, each of which sends its next request when it has the answer to the last one. A
request holds --batch_sizes images and is timed at the client, so encoding, network and decoding count. Without --images
it sends rendered faces. A 99th percentile of fewer than 100 requests is nearly the slowest one.
"""

from absl import flags

from tfface.cli import program

_SERVER = flags.DEFINE_string("server", None, "http://host:8501 or grpc://host:8500.", required=True)
_MODEL = flags.DEFINE_string("model", None, "Name of the model on the server.", required=True)
_IMAGES = flags.DEFINE_string("images", None, "Folder of aligned faces. Default: 64 rendered ones.")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "8", "32"], "Images per request.")
_CONCURRENCY = flags.DEFINE_list("concurrency", ["1", "4", "16"], "Clients at a time.")
_REQUESTS = flags.DEFINE_integer("requests", 200, "Timed requests per row, of all clients together.", lower_bound=1)
_WARM_UP = flags.DEFINE_integer("warm_up", 1, "Requests of each client before those.", lower_bound=0)
_OUTPUT = flags.DEFINE_string("output", None, "CSV file to write, too.")


def main():
    # Imported here, so that --help and wrong flags answer at once.
    from load_generator import HEADER, read_images, rendered, row, run_load

    from tfface import csv_files, progress
    from tfface.evaluation.reports.tables import align

    images = read_images(_IMAGES.value) if _IMAGES.value else rendered(64)
    rows = []
    grid = [(int(size), int(clients)) for size in _BATCH_SIZES.value for clients in _CONCURRENCY.value]
    for size, clients in progress.bar(grid, desc="load", unit=" rows"):
        load = run_load(_SERVER.value, _MODEL.value, images, size, clients, _REQUESTS.value, _WARM_UP.value)
        rows.append(row(load, size, clients))
    print(align([list(HEADER), *(list(map(str, each)) for each in rows)]))
    if _OUTPUT.value:
        csv_files.write_table(_OUTPUT.value, HEADER, rows)


if __name__ == "__main__":
    program.run(main)
