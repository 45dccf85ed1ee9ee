"""Changes the recipe while the line runs: the next one is loaded by a thread of its own, then judges from one part to the next.

Looks that were announced before the change are judged by the recipe before it, which is freed when none of them is open.
One that does not load changes nothing, and is told: in the answer, the log, the state's detail and a metric.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from daemon.book import Book, JudgedBy
from daemon.drift import DriftWatch
from daemon.loaded import Loaded
from senbetsu.camera import CameraSettings
from senbetsu.config import Config, RecipeFile, Settings
from senbetsu.errors import ConfigError, UserError
from senbetsu.judge import Judge
from senbetsu.metrics import Metrics
from senbetsu.profile import check_camera_binding, check_read_back, check_recipe_binding
from senbetsu.realtime import be_ordinary, take_priority
from senbetsu.recipes import find_recipe
from senbetsu.requests import Answer, RecipeRequest

log = logging.getLogger("daemon")

Envelope = tuple[bytes, ...]

NOT_OF_THE_LINE = frozenset((*RecipeFile.model_fields, "artifacts", "recipes_dir", "bridge", "journal"))
"""Settings that may change while the daemon runs, or that it does not read."""


@dataclass(slots=True)
class RecipeSource:
    """Where recipes come from: what the settings are made of, how they are read again, and what loads one."""

    settings: Settings
    reread: Callable[[], Settings]
    load: Callable[[Config], Judge]


class Judges(Protocol):
    """The engine's thread."""

    def activate(self, loaded: Loaded) -> None:
        """Be ready to judge by this too."""

    def drop(self, judged_by: JudgedBy) -> None:
        """Free what this had judged with."""


@dataclass(slots=True)
class _Loading:
    """One attempt; the thread fills in what came of it, the flag last."""

    asked: str
    request: RecipeRequest | None
    waiting: list[Envelope]
    settings: Settings | None = None
    base: Config | None = None
    folder: Path | None = None
    loaded: Loaded | None = None
    error: str = ""
    done: bool = False


class Recipes:
    """Used by the main thread. `wake` makes it call `turn`."""

    def __init__(
        self,
        source: RecipeSource | None,
        config: Config,
        first: Loaded,
        book: Book,
        judging: Judges,
        drift: DriftWatch,
        metrics: Metrics,
        wake: Callable[[], None],
        camera_settings: Callable[[str], CameraSettings] = lambda _: {},
    ) -> None:
        """`camera_settings`: what a camera reads back; empty where it does not tell."""
        self.active = first
        self.detail = ""
        """For the state: what is being loaded, or was not."""
        self._source = source
        self._base = config
        self._folder = config.artifacts
        self._book = book
        self._judging = judging
        self._drift = drift
        self._metrics = metrics
        self._wake = wake
        self._camera_settings = camera_settings
        self._loading: _Loading | None = None
        self._retired: list[JudgedBy] = []
        self._read_again = False
        self._told = ""
        self._loads = {outcome: metrics.counter("recipe_loads_total", outcome) for outcome in ("changed", "failed")}
        self._tell_what_judges()

    def read_again(self) -> None:
        """Follow the config file; where it names the same artefacts as before, load the active recipe's anew."""
        self._read_again = True

    def ask(self, request: RecipeRequest, envelope: Envelope) -> Answer | None:
        """The answer, or None: then `turn` gives it for this envelope."""
        loading = self._loading
        if loading is not None:
            if loading.request != request:
                return _refusal(f"{loading.asked} is being loaded; ask again when it is")
            loading.waiting.append(envelope)
            return None
        if self._is_active(request):
            return self._confirmation()
        if self._source is None:
            return _refusal("this daemon knows one recipe only")
        self._begin(_asked(request), request, [envelope])
        return None

    def turn(self) -> list[tuple[Envelope, Answer]]:
        """Take over what has been loaded; free what no part needs any more. Answers to those who wait."""
        if self._retired:
            self._retired = [old for old in self._retired if not self._dropped(old)]
        loading = self._loading
        if loading is None:
            if self._read_again:
                self._read_again = False
                if self._source is None:
                    log.warning("the config file is not read again: this daemon knows one recipe only")
                else:
                    self._begin("the config file", None, [])
            return []
        if not loading.done:
            return []
        self._loading = None
        if loading.loaded is not None:
            self._change(loading)
        else:
            self._keep(loading)
        self._metrics.gauge("recipe_loading").set(0)
        answer = self._confirmation() if loading.loaded is not None else _refusal(loading.error)
        return [(envelope, answer) for envelope in loading.waiting]

    def give_up(self) -> list[tuple[Envelope, Answer]]:
        """The daemon ends: answers to those who wait, and nothing is begun any more."""
        self._source = None
        loading, self._loading = self._loading, None
        return (
            [] if loading is None else [(envelope, _refusal("the daemon is stopping")) for envelope in loading.waiting]
        )

    def _is_active(self, request: RecipeRequest) -> bool:
        judged_by = self.active.judged_by
        return request.name == judged_by.name or request.number == judged_by.recipe

    def _confirmation(self) -> Answer:
        judged_by = self.active.judged_by
        return Answer(True, "recipe", {
            "name": judged_by.name, "recipe": judged_by.recipe, "model_sha256": judged_by.model_sha256,
            "profile_sha256": judged_by.profile_sha256,
        })  # fmt: skip

    def _begin(self, asked: str, request: RecipeRequest | None, waiting: list[Envelope]) -> None:
        loading = self._loading = _Loading(asked, request, waiting)
        self.detail = f"; loading {asked}"
        self._metrics.gauge("recipe_loading").set(1)
        threading.Thread(target=self._load, args=(loading,), name="recipe", daemon=True).start()

    def _load(self, loading: _Loading) -> None:
        """The thread. It can wait, the line cannot; what it has begun for the new engine must not wait any more."""
        priority = self._base.realtime.fifo_priority
        try:
            if priority:
                be_ordinary()
            self._prepare(loading)
            take_priority(priority)
        except UserError as error:
            loading.loaded, loading.error = None, str(error)
        except Exception as error:
            loading.loaded, loading.error = None, f"{type(error).__name__}: {error}"
            log.debug("loading %s failed", loading.asked, exc_info=True)
        finally:
            loading.done = True
            self._wake()

    def _prepare(self, loading: _Loading) -> None:
        source, request = self._source, loading.request
        assert source is not None
        if request is None:
            loading.settings = source.reread()
            loading.base = loading.settings.config()
            follows = loading.base.artifacts != self._base.artifacts
            loading.folder = loading.base.artifacts if follows else self._folder
        else:
            loading.settings, loading.base = source.settings, self._base
            loading.folder = find_recipe(self._base, request.name, request.number).folder
        config = loading.settings.config(loading.folder)
        check_same_line(self._base, config)
        judge = source.load(config)
        lanes, running = len(judge.engine.lanes), len(self.active.judge.engine.lanes)
        if lanes != running:
            raise UserError(
                f"it judges {lanes} parts at the same time, and this daemon {running}, which takes a restart"
            )
        check_recipe_binding(judge.recipe, config)
        check_camera_binding(judge.camera, config)
        check_read_back(judge.camera, self._camera_settings)
        loading.loaded = Loaded.of(config, judge)

    def _change(self, loading: _Loading) -> None:
        assert self._source is not None
        assert loading.settings is not None
        assert loading.base is not None
        assert loading.folder is not None
        assert loading.loaded is not None
        self._source.settings, self._base, self._folder = loading.settings, loading.base, loading.folder
        before, self.active = self.active.judged_by, loading.loaded
        self._judging.activate(self.active)
        self._book.active = self.active.judged_by
        self._retired.append(before)
        self._drift.watch(self.active)
        self._metrics.forget("calibration_info", before.model_sha256, before.profile_sha256, str(before.recipe))
        self._tell_what_judges()
        self._loads["changed"].inc()
        self.detail = ""
        now = self.active.judged_by
        log.info(
            "recipe %s (%d) judges from here on, before: %s (%d)", now.name, now.recipe, before.name, before.recipe
        )

    def _keep(self, loading: _Loading) -> None:
        self._loads["failed"].inc()
        now = self.active.judged_by
        detail = f"; {loading.asked} is not loaded, {now.name} ({now.recipe}) goes on: {loading.error}"
        # A PLC goes on asking for what it wants; the same failure is logged once.
        log.log(logging.DEBUG if detail == self._told else logging.ERROR, "%s", detail.removeprefix("; "))
        self.detail = self._told = detail

    def _dropped(self, old: JudgedBy) -> bool:
        if self._book.any_open_of(old):
            return False
        self._judging.drop(old)
        return True

    def _tell_what_judges(self) -> None:
        judged_by, judge, gauge = self.active.judged_by, self.active.judge, self._metrics.gauge
        gauge("calibration_info", judged_by.model_sha256, judged_by.profile_sha256, str(judged_by.recipe)).set(1)
        gauge("calibration_samples").set(judge.samples)
        gauge("calibration_false_reject_bound").set(judge.false_reject_bound)
        gauge("recipe").set(judged_by.recipe)


def check_same_line(running: Config, wanted: Config) -> None:
    """What a recipe or a config file that is read again may change. Raises ConfigError."""
    changed = [
        name
        for name in Config.model_fields
        if name not in NOT_OF_THE_LINE and getattr(running, name) != getattr(wanted, name)
    ]
    if changed:
        raise ConfigError(f"{', '.join(changed)}: changed in the config file, which takes a restart of the daemon")


def _asked(request: RecipeRequest) -> str:
    return f"recipe {request.name or request.number}"


def _refusal(error: str) -> Answer:
    return Answer(False, "recipe", {"error": error})
