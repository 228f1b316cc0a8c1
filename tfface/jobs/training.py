"""The main job: from settings to a trained, evaluated and exported encoder."""

import contextlib
import dataclasses
import pathlib
import shutil

import keras
import tensorflow as tf

from tfface import data, evaluation, interrupts, progress
from tfface.config import components, train_config, train_flags
from tfface.config.build import build_encoder, build_head, build_optimizer, build_schedule, completed
from tfface.data.dataset_content import DatasetContent
from tfface.distribute import collectives
from tfface.distribute.agreement import agree
from tfface.distribute.cluster import read_cluster
from tfface.distribute.strategies import distribute, make_strategy
from tfface.jobs import provenance
from tfface.jobs.exports import export_model
from tfface.jobs.heldout import HeldOut
from tfface.jobs.planning import inputs, machine
from tfface.jobs.planning.plan import plan_training
from tfface.jobs.planning.report import summary
from tfface.jobs.protocols import MISSING_FILE
from tfface.jobs.run_folder import owned_run_folder, write_run
from tfface.jobs.training_data import batch_maker, prepare_records, sample_images
from tfface.training import callbacks
from tfface.training.checkpoints.saving import Checkpoints
from tfface.training.checkpoints.warm_start import warm_start
from tfface.training.face_model import FaceModel


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """Results of a training run.

    Attributes:
      before: list of `VerificationResult` of the untrained encoder; empty without held-out data.
      after: list of `VerificationResult` of the trained encoder.
      checkpoint: path of the newest checkpoint.
      report: path of the HTML report, None without held-out data.
      saved_model: path of the exported SavedModel.
    """

    before: list[evaluation.VerificationResult]
    after: list[evaluation.VerificationResult]
    checkpoint: str
    report: pathlib.Path | None
    saved_model: pathlib.Path


def train(settings: train_config.TrainConfig) -> TrainResult:
    """Trains a network, verifies it on held-out identities and exports it.

    Args:
      settings: `TrainConfig`.

    Returns:
      `TrainResult`.

    Raises:
      ValueError: the settings contradict each other or the data, the run folder is in use, or a loss is not finite.
      OSError: a file cannot be read or written.
    """
    settings = completed(settings)
    with contextlib.ExitStack() as stack:
        if settings.strategy == "multiworker":
            cluster = read_cluster()
            is_chief = cluster.is_chief

            def describe():
                if is_chief:
                    stack.enter_context(owned_run_folder(settings))
                return provenance.training_facts(settings)

            agree(cluster, describe, settings.run_dir, settings.wait_for_workers)
            stack.enter_context(_lost_worker_in_a_sentence())
        else:
            is_chief = True
            stack.enter_context(owned_run_folder(settings))
        strategy = make_strategy(settings.strategy, settings.replicas)
        with strategy.scope():
            result = _train(settings, strategy)
        if is_chief:
            if result.saved_model.exists():
                shutil.rmtree(result.saved_model)
            # Load from the checkpoint: a network built there is free of the strategy and its devices.
            export_model(settings.run_dir, result.saved_model)
        return result


def _train(settings, strategy):
    run_dir, is_chief = pathlib.Path(settings.run_dir), collectives.is_chief()
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    train_data, heldout_data = prepare_records(settings, run_dir)

    records = data.open_records(train_data, skip_bad=settings.skip_bad)
    steps_per_epoch = data.steps_per_epoch(records, settings.batch_size)
    content = DatasetContent.load(train_data)
    identities = content.identities
    total_steps = settings.steps or max(1, round(settings.epochs * steps_per_epoch))

    before_network = machine.peak_bytes()
    schedule = build_schedule(settings, steps_per_epoch, total_steps)
    encoder = build_encoder(settings)
    head = build_head(settings, len(identities))
    model = FaceModel(encoder, head, settings.micro_batches, settings.ema)
    model.compile(optimizer=build_optimizer(settings, schedule, encoder))
    model.optimizer.build(model.trainable_variables)
    planned = plan_training(settings, len(identities), collectives.replica_count(), *inputs.counts(records), model)
    if is_chief:
        for line in summary(planned):
            progress.detail(line)
    if settings.init_from:
        warm_start(model, identities, settings.init_from, settings.init_head)

    checkpoints = Checkpoints(run_dir / "checkpoints", model, settings.keep)
    # Only the chief verifies; the other workers wait for it at the next step.
    heldout = data.open_records(heldout_data, skip_bad=settings.skip_bad) if heldout_data and is_chief else None
    verified = HeldOut(settings, model.final_encoder, heldout, run_dir / MISSING_FILE) if is_chief else None
    before = verified.verify() if verified else []
    start_step = checkpoints.restore(settings.strict_resume)

    every = {"start_step": start_step, "total_steps": total_steps}
    log = callbacks.StepLog(run_dir, schedule, settings.batch_size, settings.log_every, **every, write=is_chief)
    steps = [log]
    if hasattr(getattr(head, "sampler", None), "rebuild"):
        steps.append(callbacks.RebuildForest(head, settings.rebuild_every, start_step))
    if settings.callback:
        images, labels = sample_images(settings, records)
        given = {"folder": run_dir, "images": images, "labels": labels, **every}
        steps += [components.build("callback", each, given) for each in settings.callback]
    if before:
        verification = callbacks.Verification(run_dir, verified.verify, settings.verify_every, **every)
        if start_step == 0:
            verification.record(0, before)
        steps.append(verification)
    steps.append(callbacks.SaveCheckpoints(checkpoints, settings.save_every, **every))
    batches = distribute(strategy, batch_maker(settings, records, start_step), settings.batch_size)
    if is_chief:
        # Written this late so that an attempt that fails earlier leaves no run to be resumed or overwritten.
        data.write_skipped(run_dir / "skipped.txt", records, *([heldout] if heldout else []))
        write_run(settings, content)
    if start_step < total_steps:
        try:
            with interrupts.postponed() as request, data.naming_bad_records(records):
                steps.append(callbacks.EndWhenAsked(request, checkpoints, **every))
                # Keras sees the rest of the run as one epoch, because its epochs cannot start at an arbitrary step.
                model.fit(batches, steps_per_epoch=total_steps - start_step, shuffle=False, verbose=0, callbacks=steps)
        finally:
            log.close()
        if is_chief:
            progress.detail(machine.measured(before_network, planned.process_bytes(inputs.local_replicas(settings))))

    after, report = [], None
    if before:
        report = run_dir / "report.html"
        context = {
            "command": f"tfface train --flagfile={run_dir / train_flags.FLAGFILE}",
            **provenance.provenance(run_dir, heldout_data, verified.lists),
            "checkpoint": checkpoints.latest,
            "pairs": verified.described,
            "flip": False,
            **(heldout.left_out() if heldout else {}),
        }
        untrained = [dataclasses.replace(result, name=f"{result.name}, untrained") for result in before]
        title = f"Verification of {run_dir.name}"
        after = verified.report(run_dir, context, title, untrained)
    return TrainResult(before, after, checkpoints.latest, report, run_dir / "export" / "1")


@contextlib.contextmanager
def _lost_worker_in_a_sentence():
    lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
    try:
        yield
    except tf.errors.OpError as error:
        # After that, what ends a collective operation has the class of whatever noticed first, such as a heartbeat.
        if not isinstance(error, lost) and "Collective ops is aborted by" not in error.message:
            raise
        raise ValueError(
            "another worker has ended or cannot be reached; start all of them again with --resume "
            f"({type(error).__name__})."
        ) from None
