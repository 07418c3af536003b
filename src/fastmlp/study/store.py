"""The folder of a study: its settings, and each run as soon as it is finished."""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..io.atomic import replace_file
from .settings import Job, Settings, SettingsError
from .trial import Record, is_complete, without_nan

SETTINGS, RUNS = "study.json", "runs.jsonl"


class Store:
    """Keeps finished runs; a context manager that bars other processes from the same folder.

    ``study.json`` holds the settings, ``runs.jsonl`` a line for each run. What a crash left of a
    line that was not finished is cut off.

    Raises
    ------
    SettingsError
        The folder holds a study with other settings; the message names the first that differs.
    ValueError
        A file that no study has written.
    OSError
        A folder that cannot be used, BlockingIOError while another process does.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Settings) -> None:
        self.folder = Path(folder)
        self._settings = settings

    def __enter__(self) -> Self:
        """Create or check the files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / RUNS
        self._file = open(path, "a+b", buffering=0)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                problem = "another process works in this folder"
                raise BlockingIOError(error.errno, problem, str(self.folder)) from None
            self._agree()
            self.records = self._recover()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let others use the folder."""
        self._file.close()

    def add(self, job: Job, record: Record) -> None:
        """Write a finished run to the disk."""
        entry = {**job._asdict(), **without_nan(record)}
        content = memoryview(json.dumps(entry, allow_nan=False).encode() + b"\n")
        try:
            # An almost full disk takes a part, and refuses the next.
            while content:
                content = content[self._file.write(content) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.folder / RUNS)) from None
        self.records[job] = entry

    def _agree(self) -> None:
        """Make sure that the folder's settings are those of this study."""
        path = self.folder / SETTINGS
        ours = self._settings.to_dict()
        if not path.exists():
            if os.fstat(self._file.fileno()).st_size:
                raise ValueError(f"{path} is missing beside {RUNS}: choose another folder")
            replace_file(path, json.dumps({"settings": ours}, indent=2).encode() + b"\n")
            return
        theirs = read_settings(path)
        for name, value in ours.items():
            if theirs.get(name) != value:
                raise SettingsError(
                    name,
                    f"the study in {self.folder} was begun with {_shown(theirs.get(name))}, not "
                    f"{_shown(value)}: choose another folder, or go on with what it has",
                )

    def _recover(self) -> dict[Job, Record]:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        return parse_runs(content[:whole], self.folder / RUNS, self._settings)


def parse_runs(content: bytes, path: Path, settings: Settings) -> dict[Job, Record]:
    """Read the lines of finished runs; ValueError naming path and line of what is none of them."""
    cells, seeds = set(settings.cells()), range(settings.seeds)
    records = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = json.loads(line)
            job = Job(*(record[name] for name in Job._fields))
            known = (job.share, job.loss) in cells and job.seed in seeds and job.lr in settings.lrs
            if not (known and is_complete(record)):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}, line {number}: this is no run of a study") from None
        records[job] = record
    return records


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings in a study's file; ValueError, naming it, when it holds none."""
    try:
        settings = json.loads(path.read_bytes())["settings"]
    except (ValueError, KeyError, TypeError):
        settings = None
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: there are no settings of a study in it")
    return settings


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)
    return str(value)
