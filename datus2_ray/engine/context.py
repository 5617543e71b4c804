"""What every stage is handed: the settings, the run folder, its event log, and the facts of the data set."""

from __future__ import annotations

from dataclasses import dataclass, replace

from datus2_ray.config.load import RunConfig
from datus2_ray.store import storage
from datus2_ray.store.run_folder import FINISHED, REPORT, EventLog, RunFolder


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
    def open(config: RunConfig, command: str = "run") -> RunContext:
        """Open the run folder that the settings name; an error where it is not a run's to write to."""
        folder = RunFolder(config.out)
        folder.claim(config.source, command)
        return RunContext(config, folder, EventLog(folder))

    def with_resolution(self, resolution: float) -> RunContext:
        """Give the same run with another resolution of Louvain."""
        discover = self.config.discover.model_copy(update={"resolution": resolution})
        return replace(self, config=self.config.model_copy(update={"discover": discover}))

    def is_finished(self, config: RunConfig) -> bool:
        """Tell whether the folder is that of a finished run with these very settings."""
        if not all(storage.exists(self.folder.path(name)) for name in (*FINISHED, REPORT)):
            return False
        return bool(storage.read_json(self.folder.path("config.json")) == config.model_dump(mode="json"))

    def end(self, stage: str, seconds: float, **counts: int) -> None:
        """Note that a stage has done its work, in the event log and for Prometheus."""
        # Imported here: a wrong flag should be answered before Ray is loaded.
        from datus2_ray.engine import prometheus

        self.events.write("end", stage=stage, **counts, seconds=seconds)
        prometheus.set_seconds(stage, seconds)
