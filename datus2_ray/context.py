"""What every stage is handed: the settings, the run folder, its event log, and the facts of the data set."""

from __future__ import annotations

from dataclasses import dataclass

from datus2_ray.config import RunConfig
from datus2_ray.run_folder import EventLog, RunFolder


@dataclass(frozen=True)
class RunContext:
    """One run while it goes on.

    Parameters
    ----------
    config : RunConfig
        All settings.
    folder : RunFolder
        Where the tables go.
    events : EventLog
        Where it is noted what happened.
    """

    config: RunConfig
    folder: RunFolder
    events: EventLog

    @staticmethod
    def open(config: RunConfig) -> RunContext:
        """Open the run folder that the settings name; an error where it is not a run's to write to."""
        folder = RunFolder(config.out)
        folder.claim(config.source)
        return RunContext(config, folder, EventLog(folder))
