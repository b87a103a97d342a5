"""Checkpoints of a stage: when, with what, and which of them stay."""

from __future__ import annotations

from typing import Any

from yxanul.checkpoint.cadence import Cadence, Moment
from yxanul.checkpoint.keep import read_best, rotate, write_best
from yxanul.stages.config import longest_row
from yxanul.stages.session import Session
from yxanul.train.micro_batch import micro_rows_of
from yxanul.train.progress import Best
from yxanul.train.trainer import Callback, StepReport, Trainer


class Saving(Callback):
    """Writes the checkpoints of a stage, bound to its session."""

    def __init__(self, session: Session, index: int):
        self.session = session
        self.stage = session.recipe.stages[index].name
        self.seq_len = max(map(longest_row, session.recipe.stages[: index + 1]))
        self._cadence = Cadence(session.recipe.train.checkpoint)

    def after_step(self, trainer: Trainer, report: StepReport) -> None:
        """Save at the cadence of the recipe; the end of the stage waits until it is on disk."""
        self.session.writer.check()
        progress, plan = trainer.progress, trainer.plan
        moment = Moment(
            progress.step,
            progress.stage_step,
            phase_end=plan.is_phase_end(progress.stage_step),
            stage_end=progress.stage_step == plan.total_steps,
            is_best=progress.best is not None and progress.best.step == progress.step,
        )
        why = self.session.world.from_first(self._cadence.due(moment))
        if moment.stage_end:
            self.on_stop(trainer)
        elif why is not None:
            self._submit(trainer)

    def on_stop(self, trainer: Trainer) -> None:
        """Write a checkpoint and wait until all of it is on disk."""
        self._submit(trainer)
        self.session.writer.wait()
        self.session.world.wait_for_all()  # who ends before would end the writing process, too

    def _submit(self, trainer: Trainer) -> None:
        """Hand all that the run needs to go on to the writer; then drop old checkpoints."""
        session, progress = self.session, trainer.progress
        self._note_micro_rows(trainer)
        moments = session.engine.moments()
        files = {**session.engine.weights(), "optimizer": moments.tensors}
        if session.world.is_first:
            state = self._state(trainer, moments.plain)
            best = progress.best
            session.writer.submit(progress.step, files, state, lambda: self._tidy(best))
        self._cadence.saved()

    def _tidy(self, best: Best | None) -> None:
        run, settings = self.session.run, self.session.recipe.train.checkpoint
        if best is not None:
            write_best(run.path, best.step, best.metric, best.value)
        named = read_best(run.path)  # of the stage before, until this one has its own
        rotate(
            run.checkpoints,
            keep=settings.keep,
            keep_every=settings.keep_every_steps,
            best=named.step if named else None,
        )

    def _note_micro_rows(self, trainer: Trainer) -> None:
        """Keep in the ledger what an out-of-memory has changed: the next start begins with it."""
        entry = self.session.ledger.entry(self.stage)
        rows = micro_rows_of(trainer.plan)
        if entry is not None and entry.micro_rows != rows:
            entry.micro_rows = rows
            self.session.ledger.write()

    def _state(self, trainer: Trainer, optimizer: Any) -> dict[str, Any]:
        session, engine = self.session, self.session.engine
        scale = engine.twin.scale
        state = {
            "progress": trainer.progress.to_dict(),
            "model": session.model_settings.model_dump(mode="json"),
            "tokenizer": session.tokenizer.digest,
            "seq_len": self.seq_len,
            "data_folder": session.recipe.data.folder,
            "optimizer": optimizer,
            "loss_scale": scale.to_dict() if scale else None,
            "devices": session.world.size,
            "micro_rows": {str(i): rows for i, rows in micro_rows_of(trainer.plan).items()},
            "recorder": session.recorder.to_dict(),
            "watch": session.watch.to_dict(),
        }
        return state if engine.ema is None else state | {"ema_updates": engine.ema.num_updates}
