"""Points chosen by Optuna: NSGA-II or TPE on the grid of a specification, without asking for a point twice.

Samplers repeat themselves on small grids: of what they ask for, only points that are new count, the others are answered at once.
When a sampler has nothing new to say for long, points that are left are taken by chance.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

from gen.errors import RequestError
from gen.sweep.constraint import Value
from gen.sweep.points import Point
from gen.sweep.spec import MOST_POINTS, Loaded
from gen.sweep.store import Row, Store

PATIENCE = 40
"""Choices without a new point, one after the other, before chance takes over."""


class Explorer:
    """A source of ``count`` different points, or of all that there are.

    Parameters
    ----------
    loaded : Loaded
    store : Store
        Gets each choice, so that an exploration can be resumed: with ``resume`` what was chosen before comes first.
    count : int

    Raises
    ------
    RequestError
        Optuna is not installed.
    """

    def __init__(self, loaded: Loaded, store: Store, count: int, *, resume: bool = False) -> None:
        try:
            import optuna
        except ImportError:
            raise RequestError(
                f"--explore {count}: must be left out, or Optuna installed: pip install 'gatemill[explore]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._loaded, self._store, self._count = optuna, loaded, store, count
        self.total: int | None = count if loaded.spec.size > MOST_POINTS else min(count, _wanted(loaded))
        self._parameters = loaded.spec.parameters
        # Values by their place: Optuna tells 1 and true apart as little as Python does.
        self._space: dict[str, Any] = {
            name: optuna.distributions.CategoricalDistribution(tuple(range(len(values))))
            for name, values in self._parameters.items()
        }
        self._study = optuna.create_study(
            directions=["minimize"] * len(loaded.spec.objectives), sampler=self._sampler()
        )
        self._random = random.Random(loaded.spec.explore.seed)
        self._seen: dict[str, dict[str, Value]] = {}
        self._trials: dict[str, list[Any]] = {}
        self._told: dict[str, list[float] | None] = {}
        self._name = _name(loaded)
        self._earlier: list[dict[str, Value]] = []
        if resume:
            self._earlier = store.choices(self._name)[: self.total]
        else:
            store.forget(self._name)

    def _sampler(self) -> Any:
        explore = self._loaded.spec.explore
        if explore.sampler == "tpe":
            return self._optuna.samplers.TPESampler(
                seed=explore.seed, n_startup_trials=max(4, min(10, self._count // 3))
            )
        size = max(4, min(50, self._count // 4))
        return self._optuna.samplers.NSGAIISampler(seed=explore.seed, population_size=size)

    def ask(self) -> tuple[Point, dict[str, Value]] | None:
        """The next point that is new."""
        if self.total is not None and len(self._seen) >= self.total:
            return None
        settings = self._earlier.pop(0) if self._earlier else self._choice() or self._chance()
        if settings is None:
            return None
        point = Point.of(self._loaded, settings)
        name = _text(settings)
        if name not in self._trials:
            self._enqueue(settings)
        self._store.choose(self._name, len(self._seen), settings)
        self._seen[name] = settings
        return point, settings

    def tell(self, settings: dict[str, Value], row: Row) -> None:
        """Values of the objectives, or that there are none."""
        settings = settings | {"target": row.point.target}
        goals = self._loaded.spec.goals
        values = None
        if row.done and all(goal.figure in row.figures for goal in goals):
            values = [float(goal.loss(row.figures)) for goal in goals]
        name = _text(settings)
        self._told[name] = values
        for trial in self._trials.pop(name, []):
            self._tell(trial, values)

    def _tell(self, trial: Any, values: list[float] | None) -> None:
        if values is None:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, values)

    def _choice(self) -> dict[str, Value] | None:
        """What the sampler says, if that is new before its patience is over."""
        for _ in range(PATIENCE):
            trial = self._study.ask(self._space)
            settings = {name: self._parameters[name][place] for name, place in trial.params.items()}
            name = _text(settings)
            if name in self._told:
                self._tell(trial, self._told[name])
            elif name in self._seen:
                self._trials[name].append(trial)
            elif not self._loaded.wanted(settings):
                self._tell(trial, None)
            else:
                self._trials[name] = [trial]
                return settings
        return None

    def _chance(self) -> dict[str, Value] | None:
        """Some point of the grid that nobody has asked for yet: by chance, or when few are left, the first."""
        for _ in range(1000):
            settings = {name: self._random.choice(values) for name, values in self._parameters.items()}
            if _text(settings) not in self._seen and self._loaded.wanted(settings):
                return settings
        if self._loaded.spec.size > MOST_POINTS:
            return None
        return next((one for one in self._loaded.grid() if _text(one) not in self._seen), None)

    def _enqueue(self, settings: dict[str, Value]) -> None:
        """Have the sampler take a point that it has not chosen."""
        places = {
            name: [(type(one), one) for one in values].index((type(settings[name]), settings[name]))
            for name, values in self._parameters.items()
        }
        self._study.enqueue_trial(places)
        self._trials[_text(settings)] = [self._study.ask(self._space)]


def _wanted(loaded: Loaded) -> int:
    return sum(1 for _ in loaded.grid())


def _text(settings: dict[str, Value]) -> str:
    return json.dumps(settings, sort_keys=True)


def _name(loaded: Loaded) -> str:
    """Of an exploration: its specification, but not how long a point may take."""
    content = [
        loaded.spec.model_dump(mode="json", exclude={"timeout"}, by_alias=True),
        loaded.base,
        loaded.workload,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
