"""FaceModel: an encoder and a head as one Keras model."""

import dataclasses

import keras
import tensorflow as tf

from tfface import keras_private
from tfface.data import origins
from tfface.data.images.decoding import normalize
from tfface.distribute import collectives, xla
from tfface.optimizers.replica_aware import make_replica_aware
from tfface.training import keras_options
from tfface.training.ema import clone_for_average, update_average
from tfface.training.micro_batches import add_gradients, after, split_batch
from tfface.training.uneven_batches import fill


@keras.saving.register_keras_serializable("tfface")
class FaceModel(keras.Model):
    """An encoder trained through a classification head; as a function it is the encoder alone.

    `fit` and `evaluate` take batches `{"image": ..., "label": ...}` as `tfface.data` makes them, or pairs
    (images, labels). "pixels" in place of "image" are 8-bit values, which become float32 in [-1, 1] here. `compile`
    needs an optimizer only: the loss is the batch mean of the head's per-example losses plus the layers'
    regularisation. Under a `tf.distribute` strategy the mean is that of the batches of all replicas, whatever their
    sizes.

    Metrics given to `compile` get the labels and the head's plain logits [B, K] of all classes.

    If layers compute in float16, `compile` adds the loss scaling that they need.

    Args:
      encoder: keras.Model, images [B, height, width, 3] -> embeddings [B, d].
      head: Keras layer, (embeddings [B, d], integer labels [B], training) -> losses [B].
      micro_batches: int, parts of a batch that pass through encoder and head one after another before their summed
        gradients make one step: it needs the memory of a part. Batch normalisation, running means and class samplers
        see each part by itself.
      ema_momentum: float in [0, 1), momentum of a moving average of the encoder's weights; 0: none.
      **kwargs: of `keras.Model`.

    Attributes:
      ema_encoder: keras.Model like the encoder with the averaged weights, or None.
      final_encoder: the network to evaluate and to export: the average if there is one.
      label_map: `tfface.data.origins.LabelMap` of the dataset of the last `fit`, kept in the model's file; None if the
        dataset does not tell. Losses of other people's labels are refused.

    Raises:
      ValueError: the encoder does not return one vector per image, or an argument is out of range.
    """

    def __init__(
        self,
        encoder: keras.Model,
        head: keras.layers.Layer,
        micro_batches: int = 1,
        ema_momentum: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        keras_options.check_encoder(encoder, head)
        if int(micro_batches) != micro_batches or micro_batches < 1:
            raise ValueError(f"micro_batches must be an integer of at least 1, got {micro_batches!r}.")
        if micro_batches > 1 and getattr(head, "whole_batch", False):
            raise ValueError(f"{head!r} needs the whole batch at once: micro_batches must be 1, got {micro_batches!r}.")
        if not 0 <= ema_momentum < 1:
            raise ValueError(f"ema_momentum must be in [0, 1), got {ema_momentum!r}.")
        self.encoder = encoder
        self.head = head
        self.micro_batches = int(micro_batches)
        self.ema_momentum = ema_momentum
        self.ema_encoder = clone_for_average(encoder) if ema_momentum else None
        self.label_map: origins.LabelMap | None = None
        # The optimizer takes the list of weights when it is built, before the head would see its first batch.
        if not head.built:
            head.build(encoder.output_shape)
        self._metrics_given = False
        # Keras saves, loads, counts and exports weights only of a model that has been called, and exports its inputs.
        self(keras.KerasTensor(encoder.input_shape, self.compute_dtype))

    def build(self, input_shape):
        """Does nothing: encoder and head are built when the model is made."""

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.encoder.output_shape[1])

    @property
    def final_encoder(self) -> keras.Model:
        return self.encoder if self.ema_encoder is None else self.ema_encoder

    def call(self, inputs, training: bool | None = None):
        """Returns the embeddings [B, d] of a batch of images, or of those of a batch with labels."""
        images = keras_options.images_of(inputs)
        # By name, not by type: an encoder may take uint8 and normalise by itself.
        if isinstance(inputs, dict) and "image" not in inputs:
            images = normalize(images)
        return self.encoder(images, training=training)

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        auto_scale_loss: bool = True,
        **kwargs,
    ) -> None:
        """Configures the model for training, as `keras.Model.compile`; the loss is the head's.

        Args:
          optimizer: of Keras or `tfface.optimizers`.
          loss: must be None.
          loss_weights: must be None.
          metrics: of Keras, for integer labels [B] and logits [B, K], such as "accuracy". Each step then computes the
            logits of all classes.
          weighted_metrics: the same, with the sample weights.
          auto_scale_loss: as in Keras.
          **kwargs: of `keras.Model.compile`.

        Raises:
          ValueError: the optimizer was made under another strategy than the model, or has options that do not work
            with several replicas or with partitioned class weights; another argument would have no effect.
        """
        optimizer = keras.optimizers.get(optimizer)
        wanted = [*(metrics or []), *(weighted_metrics or [])]
        steps_per_execution = kwargs.get("steps_per_execution", 1)
        keras_options.check_compile(self, optimizer, loss, loss_weights, wanted, auto_scale_loss, steps_per_execution)
        # On CPU, XLA makes a convolutional network several times slower, so only jit_compile=True asks for it.
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        wants_jit = kwargs.get("jit_compile") is True or (on_gpu and xla.available())
        self.supports_jit = wants_jit and collectives.replica_count() == 1
        if optimizer is not None:
            strategy = keras_private.strategy_of(optimizer)
            if strategy is not self.distribute_strategy:
                raise ValueError(
                    f"the optimizer was made under {type(strategy).__name__}, the model under "
                    f"{type(self.distribute_strategy).__name__}: make both in the scope of one strategy."
                )
            optimizer = self._prepared(optimizer)
        self._metrics_given = bool(wanted)
        super().compile(
            optimizer=optimizer,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            auto_scale_loss=auto_scale_loss,
            **kwargs,
        )

    def _prepared(self, optimizer):
        if keras_options.computes_in_float16(self.encoder) and not _scales_loss(optimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        partitioned = keras_options.has_partitioned(self)
        clips = optimizer.clipnorm or optimizer.global_clipnorm
        if partitioned or clips or _scales_loss(optimizer) or collectives.replica_count() > 1:
            make_replica_aware(optimizer, partitioned)
        return optimizer

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x=None,
        y=None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose="auto",
        callbacks=None,
        *,
        validation_data=None,
        class_weight: dict[int, float] | None = None,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Trains the model, as `keras.Model.fit`.

        Raises:
          ValueError: a dataset has no end and the number of its steps is not given, a record is damaged, or the labels
            of the validation data are known to number other people than those of the training data.
        """
        for data, steps, argument in (
            ((x, y), steps_per_epoch, "steps_per_epoch"),
            (keras.utils.unpack_x_y_sample_weight(validation_data)[:2], validation_steps, "validation_steps"),
        ):
            keras_options.check_end(data[0], steps, argument)
            keras_options.check_examples(self.encoder, *data)
        if isinstance(x, tf.data.Dataset | tf.distribute.DistributedDataset):
            kwargs.setdefault("shuffle", False)  # Keras would warn that it does not shuffle a dataset.
        if class_weight:
            x, y, class_weight = keras_options.weigh_classes(x, y, class_weight)
        self.label_map = origins.label_map(x) if keras_options.has_classes(self.head) else None
        origins.check_same_labels(self.label_map, validation_data)
        with keras_options.assertions_as_sentences(), origins.naming_bad_data(x, validation_data):
            return super().fit(
                *self._with_checked_labels(x, y),
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation_data,
                class_weight=class_weight or None,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                **kwargs,
            )

    def evaluate(self, x=None, y=None, *args, steps: int | None = None, **kwargs):
        """Measures the loss and the metrics, as `keras.Model.evaluate`.

        Raises:
          ValueError: a dataset has no end and the number of steps is not given, a record is damaged, or the labels are
            known to number other people than those that the model was trained on.
        """
        keras_options.check_end(x, steps, "steps")
        keras_options.check_examples(self.encoder, x, y)
        origins.check_same_labels(self.label_map, x)
        with keras_options.assertions_as_sentences(), origins.naming_bad_data(x):
            return super().evaluate(*self._with_checked_labels(x, y), *args, steps=steps, **kwargs)

    def train_on_batch(self, x, y=None, *args, **kwargs):
        """Makes one training step, as `keras.Model.train_on_batch`.

        Raises:
          ValueError: a label is out of range.
        """
        with keras_options.assertions_as_sentences():
            return super().train_on_batch(*self._with_checked_labels(x, y), *args, **kwargs)

    def test_on_batch(self, x, y=None, *args, **kwargs):
        """Measures the loss and the metrics of one batch, as `keras.Model.test_on_batch`.

        Raises:
          ValueError: a label is out of range.
        """
        with keras_options.assertions_as_sentences():
            return super().test_on_batch(*self._with_checked_labels(x, y), *args, **kwargs)

    def _with_checked_labels(self, x, y):
        return keras_options.with_checked_labels(x, y, self.head) if self.jit_compile else (x, y)

    def predict(self, x, *args, **kwargs):
        """Returns the embeddings [N, d], as `keras.Model.predict`.

        Raises:
          ValueError: a record or a file is damaged.
        """
        keras_options.check_examples(self.encoder, x)
        with origins.naming_bad_data(x):
            return super().predict(x, *args, **kwargs)

    def train_step(self, batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        size = self._examples(keras_options.images_of(x))
        filled, share, own = fill((x, y, sample_weight), self.micro_batches)
        gradients, outputs = None, []
        for part in split_batch(filled, self.micro_batches):
            # One after another, or all of them would be in memory at once.
            part = part if gradients is None else after(gradients, part)
            of_part, *output = self._gradients(*part, size, share)
            gradients = of_part if gradients is None else add_gradients(gradients, of_part)
            outputs.append(output)
        # Before the step changes the class weights, as Keras' own metrics see the outputs from before it.
        embeddings, losses = (tf.concat(parts, axis=0)[:own] for parts in zip(*outputs, strict=True))
        outputs = self._outputs(embeddings)
        with tf.control_dependencies([outputs] if self._metrics_given else []):
            self.optimizer.apply(gradients, self.trainable_variables)
        if self.ema_encoder is not None:
            steps = getattr(self.optimizer, "inner_optimizer", self.optimizer).iterations
            update_average(self.ema_encoder, self.encoder, self.ema_momentum, steps)
        return self._logs(x, y, outputs, losses, sample_weight)

    def _gradients(self, x, y, sample_weight, size, share):
        """Returns the gradients of a part of the batch, its embeddings and its losses.

        `share` is that of each example, None: 1.
        """
        weights = sample_weight
        if share is not None and keras_options.has_partitioned(self):
            # The losses of a partitioned head are those of the batches of all replicas.
            ones = tf.ones([tf.shape(tf.nest.flatten(x)[0])[0]])
            weights = share * (ones if sample_weight is None else tf.cast(sample_weight, tf.float32))
        with tf.GradientTape() as tape:
            embeddings = self(x, training=True)
            losses = self._head_losses(x, y, embeddings, weights, training=True)
            if share is not None and weights is sample_weight:
                losses *= share
            loss = self.optimizer.scale_loss(self._share(losses, size))
        if share is not None:
            losses = tf.math.divide_no_nan(losses, share)
        return tape.gradient(loss, self.trainable_variables), embeddings, losses

    def _outputs(self, embeddings):
        """Returns what metrics get: the head's plain logits, or without metrics the embeddings."""
        return keras_options.logits_head(self.head).logits(embeddings) if self._metrics_given else embeddings

    def test_step(self, batch):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        (images, labels, weights), _, own = fill((x, y, sample_weight), 1)
        embeddings = self(images, training=False)
        losses = self._head_losses(images, labels, embeddings, weights, training=False)[:own]
        return self._logs(x, y, self._outputs(embeddings[:own]), losses, sample_weight)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight: tf.Tensor | None = None, training: bool = True
    ) -> tf.Tensor:
        """Returns the loss of this replica's batch: the mean over its examples, and regularisation."""
        return self._mean(self._head_losses(x, y, y_pred, sample_weight, training))

    def _head_losses(self, x, y, embeddings, sample_weight, training):
        labels = x["label"] if isinstance(x, dict) else y
        if labels is None:
            raise ValueError("FaceModel needs labels: pass batches {'image', 'label'} or (images, labels).")
        options = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self.head(embeddings, labels, training=training, **options)

    def _mean(self, losses):
        return tf.add_n([tf.reduce_mean(losses), *self.losses])

    def _examples(self, images):
        """Returns the number of examples in the batches of all replicas."""
        replicas = collectives.replica_count()
        if images.shape[0] is not None:
            # tf.distribute gives a static size only where all replicas have it.
            return images.shape[0] * replicas
        return collectives.sum_over_replicas(tf.cast(tf.shape(images)[0], tf.float32))

    def _share(self, losses, size):
        """Returns the share of a part of the batch in the loss, the mean over the `size` examples of all replicas."""
        parts = collectives.replica_count() * self.micro_batches
        if parts == 1:
            return self._mean(losses)
        return tf.add_n([tf.reduce_sum(losses) / size, *(term / parts for term in self.losses)])

    def _logs(self, x, y, outputs, losses, sample_weight):
        labels = x["label"] if isinstance(x, dict) else y
        total = tf.stack([tf.reduce_sum(losses), tf.cast(tf.shape(losses)[0], losses.dtype)])
        total, count = tf.unstack(collectives.sum_over_replicas(total))
        self._log_loss(tf.add_n([total / count, *self.losses]), count)
        logs = self.compute_metrics(x, labels, outputs, sample_weight=sample_weight)
        # Between workers Keras joins logs along an axis, which scalars lack.
        return {name: tf.reshape(value, [1]) for name, value in logs.items()} if collectives.is_multi_worker() else logs

    def _log_loss(self, mean, count):
        """Adds to the logged loss the mean over the `count` examples of all replicas; every replica has it."""
        tracker = keras_private.loss_tracker(self)
        if collectives.replica_count() == 1 or getattr(tracker.variables[0], "synchronization", None) == "on_read":
            tracker.update_state(mean, sample_weight=count)
            return

        # In Keras 3.8 an update in each replica would multiply the previous sum by the number of replicas.
        def update(strategy, mean, count):
            first = [strategy.experimental_local_results(value)[0] for value in (mean, count)]
            tracker.update_state(first[0], sample_weight=first[1])

        tf.distribute.get_replica_context().merge_call(update, args=(mean, count))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # The layers are built. Keras would average the images of the first batch over the replicas to build them again,
        # which fails where their numbers differ.
        if self.optimizer is not None:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        if self._metrics_given:
            num_classes = keras_options.logits_head(self.head).num_classes
            with self.distribute_strategy.scope():
                keras_options.check_metrics(keras_private.build_metrics(self, num_classes))

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "head": keras.saving.serialize_keras_object(self.head),
            "micro_batches": self.micro_batches,
            "ema_momentum": self.ema_momentum,
            "label_map": self.label_map and dataclasses.asdict(self.label_map),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for part in ("encoder", "head"):
            config[part] = keras.saving.deserialize_keras_object(config[part], custom_objects)
        label_map = config.pop("label_map", None)  # Files of release 0.1 have none.
        model = cls(**config)
        model.label_map = label_map and origins.LabelMap(**label_map)
        return model


def _scales_loss(optimizer):
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
