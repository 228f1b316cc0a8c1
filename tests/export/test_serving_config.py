"""TensorFlow Serving's configuration files, parsed with the official protocol buffers."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from tfface.export import write_serving_config


def batching_parameters():
    """A message of TensorFlow Serving's session_bundle_config.proto, which the package of stubs leaves out."""
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto", syntax="proto3", dependency=[wrappers_pb2.DESCRIPTOR.name]
    )
    message = file.message_type.add(name="BatchingParameters")
    wrapped = ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"]
    for number, name in enumerate(wrapped, 1):
        message.field.add(name=name, number=number, type=11, label=1, type_name=".google.protobuf.Int64Value")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("BatchingParameters"))()


def test_batching_parameters_parse_and_warn(tmp_path):
    write_serving_config(tmp_path / "serving", tmp_path / "face" / "1")
    text = (tmp_path / "serving" / "batching.config").read_text()
    parameters = text_format.Parse(text, batching_parameters())
    assert parameters.max_batch_size.value == 32
    # Present, not absent: TensorFlow Serving's own default is another.
    assert parameters.HasField("batch_timeout_micros") and parameters.batch_timeout_micros.value == 0
    assert parameters.max_enqueued_batches.value > 0 and parameters.num_batch_threads.value > 0
    assert "One undecodable image" in text


@pytest.mark.parametrize("name", ["face", 'Gesichter "Süd" \\ 2'])
def test_models_config_names_the_folder_above_the_version(tmp_path, name):
    model_server_config_pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    write_serving_config(tmp_path / "serving", tmp_path / name / "0012")
    text = (tmp_path / "serving" / "models.config").read_text(encoding="utf-8")
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (name, str(tmp_path / name), "tensorflow")


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_serving_config("serving", "1")
    assert f'base_path: "{tmp_path}/here"' in (tmp_path / "here/serving/models.config").read_text()


def test_the_server_may_see_the_export_elsewhere(tmp_path):
    write_serving_config(tmp_path / "serving", tmp_path / "face" / "1", "/models")
    assert 'base_path: "/models/face"' in (tmp_path / "serving/models.config").read_text()


def test_monitoring_parses(tmp_path):
    monitoring_config_pb2 = pytest.importorskip("tensorflow_serving.config.monitoring_config_pb2")
    write_serving_config(tmp_path / "serving", tmp_path / "face" / "1")
    text = (tmp_path / "serving" / "monitoring.config").read_text()
    config = text_format.Parse(text, monitoring_config_pb2.MonitoringConfig()).prometheus_config
    assert (config.enable, config.path) == (True, "/monitoring/prometheus/metrics")


@pytest.mark.parametrize("version", ["latest", "v1", "1.0", "²"])
def test_a_folder_that_is_no_version_is_refused(tmp_path, version):
    with pytest.raises(ValueError, match="version number"):
        write_serving_config(tmp_path / "serving", tmp_path / "face" / version)
    assert not list(tmp_path.iterdir())
