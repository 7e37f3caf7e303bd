"""The command line on LightningCLI: ``test`` by default, and our own flags beside Lightning's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from no_time_to_train.errors import ConfigError, NoTimeToTrainError
from no_time_to_train.pl_wrapper.config_files import merge_arguments
from no_time_to_train.pl_wrapper.run_options import RunOptions
from no_time_to_train.pl_wrapper.sam2matcher_pl import Sam2MatcherLightningModel
from no_time_to_train.pl_wrapper.stages import Stages

SUBCOMMANDS = ("test", "predict")


class Sam2MatcherCLI(LightningCLI):
    """Parses the YAML and the overrides, builds Trainer and module, and runs the stages."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Only what the method can do; it has nothing to fit."""
        skipped = {"model", "dataloaders", "datamodule", "verbose", "weights_only", "return_predictions"}
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
        self.trainer = self.instantiate_trainer()

    def test(self, model: Sam2MatcherLightningModel, ckpt_path: str | None = None) -> dict[str, float]:
        """Run the stages that ``test_mode`` names."""
        return self._stages(model).run(ckpt_path)

    def predict(self, model: Sam2MatcherLightningModel, ckpt_path: str | None = None) -> dict[str, float]:
        """Search targets that need no annotations; nothing is scored."""
        model.test_mode = "test" if ckpt_path else "run"
        stages = self._stages(model)
        stages.options = replace(stages.options, evaluate=False)
        return stages.run(ckpt_path)

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


def split_subcommand(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Find the sub-command wherever it stands; without one it is ``test``.

    A word that follows an option is that option's value, as in ``--model.test_mode test``.
    """
    for position, word in enumerate(arguments):
        before = arguments[position - 1] if position else ""
        if word in SUBCOMMANDS and (not before.startswith("-") or "=" in before):
            return word, [*arguments[:position], *arguments[position + 1 :]]
    return SUBCOMMANDS[0], list(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; errors that the user can mend come as one sentence and exit code 2."""
    command, words = split_subcommand(sys.argv[1:] if arguments is None else arguments)
    try:
        Sam2MatcherCLI(
            Sam2MatcherLightningModel,
            args=[command, *merge_arguments(words)],
            parser_class=OneSentenceParser,
            save_config_callback=None,
            seed_everything_default=42,
            auto_configure_optimizers=False,
        )
    except NoTimeToTrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
