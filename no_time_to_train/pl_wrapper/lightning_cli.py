"""Lightning's parser and trainer around the model: our own flags beside Lightning's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, NoReturn

import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from no_time_to_train.errors import ConfigError
from no_time_to_train.pl_wrapper.fit_module import fit_stage
from no_time_to_train.pl_wrapper.progress_callback import LinesOfProgress
from no_time_to_train.pl_wrapper.run_options import SUBCOMMANDS, RunOptions
from no_time_to_train.pl_wrapper.sam2matcher_pl import Sam2MatcherLightningModel
from no_time_to_train.pl_wrapper.stages import Stages
from no_time_to_train.runs.folder_lock import held
from no_time_to_train.runs.logs import run_log, set_trainer_level


class Sam2MatcherCLI(LightningCLI):
    """Parses the YAML and the overrides, builds Trainer and module, and runs the stages."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Only what the method can do."""
        skipped = {"model", "dataloaders", "datamodule", "verbose", "weights_only", "return_predictions"}
        skipped |= {"train_dataloaders", "val_dataloaders"}
        return dict.fromkeys(SUBCOMMANDS, skipped)

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Trainer and model; the data belong to the model's ``dataset_cfgs``."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({"trainer.logger": False, "trainer.enable_checkpointing": False})
        parser.add_lightning_class_args(self._model_class, "model", subclass_mode=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The flags of :class:`RunOptions`."""
        parser.add_class_arguments(RunOptions, None)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the merged arguments; Lightning's own version warns that they differ from ``sys.argv``."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """A memory bank is no Lightning checkpoint: nothing is read from it while parsing."""

    def instantiate_classes(self) -> None:
        """Trainer and module; there is no datamodule."""
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule = None
        self.model = self._get(self.config_init, "model")
        options = self._options()
        set_trainer_level(quiet=options.quiet)
        try:
            self.trainer = self._quiet_trainer() if options.quiet else self._talking_trainer()
        except (MisconfigurationException, ValueError, RuntimeError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"the trainer cannot be made as its options say: {reason}") from error

    def _quiet_trainer(self) -> Any:
        """A trainer without a progress bar, also where the YAML file names one."""
        callbacks = self._get(self.config_init, "trainer").get("callbacks") or []
        kept = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
        return self.instantiate_trainer(callbacks=kept, enable_progress_bar=False)

    def _talking_trainer(self) -> Any:
        """A trainer with a bar on a screen, and a line every so often where standard error is a file."""
        own = self._get(self.config_init, "trainer")
        callbacks = own.get("callbacks") or []
        bars = any(isinstance(callback, ProgressBar) for callback in callbacks)
        if sys.stderr.isatty() or bars or own.get("enable_progress_bar") is not None:
            return self.instantiate_trainer()
        return self.instantiate_trainer(callbacks=[*callbacks, LinesOfProgress()])

    def test(self, model: Sam2MatcherLightningModel, ckpt_path: str | None = None) -> dict[str, float]:
        """Run the stages that ``test_mode`` names."""
        return self._run(self._stages(model), lambda stages: stages.run(ckpt_path))

    def predict(self, model: Sam2MatcherLightningModel, ckpt_path: str | None = None) -> dict[str, float]:
        """Search targets that need no annotations; nothing is scored."""
        model.test_mode = "test" if ckpt_path else "run"
        stages = self._stages(model)
        stages.options = replace(stages.options, evaluate=False)
        return self._run(stages, lambda stages: stages.run(ckpt_path))

    def fit(self, model: Sam2MatcherLightningModel, ckpt_path: str | None = None) -> None:
        """Learn an adapter of the references, see ``fit_cfgs``."""
        stages = self._stages(model)
        if ckpt_path is not None or stages.options.out_path is None:
            raise ConfigError("fit writes an adapter to --out_path FILE and takes no --ckpt_path")
        self._run(stages, fit_stage)

    def _run(self, stages: Stages, run: Callable[[Stages], dict[str, float]]) -> dict[str, float]:
        options = stages.options
        level = {"quiet": options.quiet, "verbose": options.verbose}
        folder, rank = options.folder, self.trainer.global_rank
        with held(folder, "--output_dir", rank), run_log(folder, rank=rank, **level):
            return run(stages)

    def _stages(self, model: Sam2MatcherLightningModel) -> Stages:
        resolved = yaml.safe_load(self._parser(self.subcommand).dump(self.config[self.subcommand]))
        return Stages(self.trainer, model, self._options(), resolved)

    def _options(self) -> RunOptions:
        config: Any = self.config_init[self.subcommand]
        return RunOptions(**{field.name: config[field.name] for field in fields(RunOptions)})


class OneSentenceParser(LightningArgumentParser):
    """Says what is wrong in one sentence instead of listing every type it tried."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the first line of a parser's message."""
        lines = [line.strip() for line in str(message).splitlines() if line.strip()]
        raise ConfigError(" ".join(lines[:2]))


def run_command(command: str, arguments: Sequence[str]) -> None:
    """Parse and run one sub-command.

    Args:
        command: ``test``, ``predict`` or ``fit``.
        arguments: with the configuration already merged.
    """
    Sam2MatcherCLI(
        Sam2MatcherLightningModel,
        args=[command, *arguments],
        parser_class=OneSentenceParser,
        save_config_callback=None,
        seed_everything_default=42,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,  # what a run leaves is a memory file, no checkpoint of Lightning
    )
