"""`python -m yxanul.lm_eval ...`: lm-evaluation-harness with the model `yxanul`.

    python -m yxanul.lm_eval run --model yxanul --model_args run=runs/quickstart --tasks arc_easy

Everything else is lm-eval's own command line, which finds a model only if it is registered in the
same process.
"""

from __future__ import annotations

from pathlib import Path

import torch

from yxanul.bundle import open_bundle
from yxanul.cli.errors import handle_errors


def register() -> None:
    """Register the model `yxanul` with lm-eval; YxanulError if that is not installed."""
    from yxanul.eval.lm_harness import HarnessModel  # isort: skip - says what to install

    import lm_eval.models  # noqa: F401 - before registering, else its own models stay unknown
    from lm_eval.api.registry import register_model

    @register_model("yxanul")
    class RunModel(HarnessModel):
        """A run or a `transformers` folder."""

        def __init__(
            self,
            run: str,
            checkpoint: str = "best",
            max_length: int | None = None,
            batch_size: int | str | None = None,
            max_batch_size: int | None = None,
            device: str | None = None,
        ):
            # lm-eval's default is cuda:0 on every machine.
            device = device if torch.cuda.is_available() else "cpu"
            bundle = open_bundle(Path(run), str(checkpoint), device=device)
            rows = int(size) if (size := str(batch_size)).isdecimal() else 16
            super().__init__(bundle.model, bundle.tokenizer, max_length or bundle.seq_len, rows)


def main() -> None:
    """Run lm-eval's command line."""
    with handle_errors():
        register()
        from lm_eval.__main__ import cli_evaluate

        cli_evaluate()


if __name__ == "__main__":
    main()
