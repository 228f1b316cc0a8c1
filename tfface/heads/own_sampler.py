"""Heads whose sampler follows from their sampling rate."""

from tfface.classifier.samplers.uniform import UniformSampler


class OwnSampler:
    """Beside `ClassificationHead`: gives a head its `UniformSampler`, and refuses another one."""

    batch_classes = "included"
    without_sampler = ""
    sampling_rate: float

    @classmethod
    def with_sampler(cls, kwargs: dict, sampling_rate: float) -> dict:
        """Returns the arguments of the parent class with the sampler.

        Raises:
          ValueError: there is a sampler in them, or `sampling_rate` is out of range.
        """
        if kwargs.get("sampler") is not None:
            raise ValueError(
                f"{cls.__name__} has a sampler of its own, UniformSampler(rate=sampling_rate): give "
                f"{type(kwargs['sampler']).__name__} to {cls.without_sampler}(num_classes, sampler=...)."
            )
        return {**kwargs, "sampler": UniformSampler(sampling_rate, batch_classes=cls.batch_classes)}

    def get_config(self):
        config = super().get_config()
        del config["sampler"]
        return {**config, "sampling_rate": self.sampling_rate}

    @classmethod
    def from_config(cls, config):
        # Files of release 0.1 have the sampler beside its rate.
        return super().from_config({**config, "sampler": None})
