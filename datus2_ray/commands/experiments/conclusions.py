"""What the results of an experiment say, in words and numbers that are computed from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from datus2_ray.commands.experiments.changes import (
    Place,
    change,
    final_masks,
    names,
    reached,
    seeds,
)
from datus2_ray.commands.experiments.run import Result
from datus2_ray.commands.experiments.spread import Spread
from datus2_ray.commands.experiments.variants import OF_SEGMENTS, PAPERS, PER_PATCH, PUBLISHED, describe

#: Sets of masks in sentences.
MASKS = {"initial": "initial masks", "refined": "masks after EM", "token_kmeans": "plain k-means on tokens"}


@dataclass(frozen=True)
class Conclusion:
    """Sentences, and a table of what was added to what: its header and rows, where there is one."""

    sentences: list[str]
    header: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()

    def markdown(self) -> str:
        """Return the table and the sentences."""
        lines = [self.header, ("---", *["--:"] * (len(self.header) - 1)), *self.rows] if self.header else []
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return "".join(f"\n{text}\n" for text in (table.rstrip(), *self.sentences) if text)


def conclude(experiment: str, results: Sequence[Result]) -> Conclusion:
    """Return what an experiment's results say; nothing for one that has no words of its own."""
    found = CONCLUSIONS.get(experiment)
    return found(results) if found else Conclusion([])


def _presets(results: Sequence[Result]) -> Conclusion:
    final = final_masks(results)
    sentences = []
    for name in names(results):
        ours = change(results, (name, "token_kmeans"), (name, "initial"))
        beside = f", {ours} from plain k-means on the same tokens" if ours else ""
        sentences.append(f"{_start(name)}: the initial masks reach {reached(results, (name, 'initial'))}{beside}.")
        if final == "refined" and (gain := change(results, (name, "initial"), (name, final))):
            sentences.append(f"{_start(name)}: refinement changes them by {gain}, {gain.verdict}.")
    if len(names(results)) > 1:
        first, last = names(results)
        if gain := change(results, (first, final), (last, final)):
            sentences.append(f"From {first} to {last} the {MASKS[final]} change by {gain}, {gain.verdict}.")
    return Conclusion(sentences)


def _patch_size(results: Sequence[Result]) -> Conclusion:
    swept = [result for result in results if result.variant.value is not None]
    sentences = _of_sizes(swept, final_masks(swept)) if swept else []
    for name in names([result for result in results if result.variant.value is None]):
        sentences.append(f"{_start(name)}: {reached(results, (name, final_masks(results)))}.")
    return Conclusion(sentences)


def _of_sizes(results: Sequence[Result], final: str) -> list[str]:
    sizes = sorted(names(results), key=lambda name: _value(results, name))
    means = [_mean(results, (name, final)) for name in sizes]
    best = sizes[means.index(max(means))]
    sentences = [f"Best of {len(sizes)} sizes: {best}, with {reached(results, (best, final))}."]
    for smaller, larger in pairwise(sizes):
        if step := change(results, (smaller, final), (larger, final)):
            sentences.append(f"From {smaller} to {larger}: {step}, {step.verdict}.")
    falling = all(first >= second for first, second in pairwise(means))
    sentences.append(f"So smaller patches are {'better at every step' if falling else 'not better at every step'}.")
    return sentences


def _clusters(results: Sequence[Result]) -> Conclusion:
    final, found = final_masks(results), names(results)
    best = max(found, key=lambda name: _mean(results, (name, final)))
    one = f"One-to-one, {best} has the highest mIoU: {reached(results, (best, final))}."
    first, last = (reached(results, (name, final), "many_to_one") for name in (found[0], found[-1]))
    return Conclusion([one, f"Many-to-one, it goes from {first} at {found[0]} to {last} at {found[-1]}."])


def _ablation(results: Sequence[Result]) -> Conclusion:
    base, *others = names(results)
    final = final_masks(results)
    changes = {name: found for name in others if (found := change(results, (base, final), (name, final)))}
    ranked = sorted(changes, key=lambda name: changes[name].miou.mean)

    def listed(chosen: list[str]) -> str:
        return "; ".join(f"{name} ({changes[name].miou.signed()})" for name in chosen) or "none"

    losing = [name for name in ranked if changes[name].clear and changes[name].miou.mean < 0]
    gaining = [name for name in reversed(ranked) if changes[name].clear and changes[name].miou.mean > 0]
    within = len(ranked) - len(losing) - len(gaining)
    sentences = [f"{_start(base)} reaches {reached(results, (base, final))}; each variant changes one thing."]
    if any(found.seeds > 1 for found in changes.values()):
        sentences += [
            f"Lower mIoU by more than the deviation of the change: {listed(losing)}.",
            f"Higher by more than it: {listed(gaining)}.",
            f"Of {len(ranked)} variants {within} stay within it.",
        ]
    elif ranked:
        sentences.append(f"Of one seed, the changes of mIoU are, lowest first: {listed(ranked)}.")
    return Conclusion(sentences)


def _dedicated(results: Sequence[Result]) -> Conclusion:
    def at(described: str, unit: str, masks: str = "initial", *, merged: bool) -> Place:
        return describe(described, unit, merged=merged), masks

    alone, whole = at("codes", PER_PATCH, merged=False), at("codes", OF_SEGMENTS, "refined", merged=True)
    tokens = at("tokens", PER_PATCH, merged=False)
    ours = at("tokens", OF_SEGMENTS, "refined", merged=True)
    added = [
        ("merging", alone, at("codes", PER_PATCH, merged=True)),
        ("segments", alone, at("codes", OF_SEGMENTS, merged=False)),
        ("EM", alone, (alone[0], "refined")),
        ("segments and merging", alone, at("codes", OF_SEGMENTS, merged=True)),
        ("segments, merging and EM", alone, whole),
        ("published shifts in place of ours", alone, (PUBLISHED, "initial")),
        ("a head", tokens, alone),
        ("a head", at("tokens", PER_PATCH, merged=True), at("codes", PER_PATCH, merged=True)),
        ("a head", at("tokens", OF_SEGMENTS, merged=False), at("codes", OF_SEGMENTS, merged=False)),
        ("a head", at("tokens", OF_SEGMENTS, merged=True), at("codes", OF_SEGMENTS, merged=True)),
        ("a head", ours, whole),
        ("segments, merging and EM", tokens, ours),
    ]
    rows = [
        (what, f"{before[0]}, {MASKS[before[1]]}", found.miou.signed(), found.accuracy.signed())
        for what, before, after in added
        if (found := change(results, before, after))
    ]
    sentences = [
        f"The dedicated method alone (k-means on codes per patch) reaches {reached(results, (PUBLISHED, 'initial'))} "
        f"with published shifts and {reached(results, alone)} with those of the run's head; plain k-means on the same "
        f"tokens reaches {reached(results, (alone[0], 'token_kmeans'))}."
    ]
    final = "refined" if seeds(results, ours, "miou") else "initial"
    for what, before, after in (
        ("Segments, merging and EM change the dedicated method by", alone, (whole[0], final)),
        ("A head changes segments, merging and EM by", (ours[0], final), (whole[0], final)),
        ("From the dedicated method to ours without a head it is", alone, (ours[0], final)),
    ):
        if found := change(results, before, after):
            sentences.append(f"{what} {found}, {found.verdict}.")
    return Conclusion(sentences, ("what is added", "to", "mIoU", "pixel accuracy"), rows)


def _data_size(results: Sequence[Result]) -> Conclusion:
    final = final_masks(results)
    sizes = sorted(names(results), key=lambda name: _value(results, name))
    of_all = _mean(results, (sizes[-1], final))
    scores = {name: Spread.of([*seeds(results, (name, final), "miou").values()]) for name in sizes}
    # The last is that of all.
    near = next(name for name in sizes if abs(scores[name].mean - of_all) <= scores[name].deviation)
    ends = " and ".join(f"{scores[name]} % with {name}" for name in (sizes[0], sizes[-1]))
    clear = f"; from {near} on it is within its deviation of that of all"
    sentences = [f"mIoU is {ends}{clear if min(score.seeds for score in scores.values()) > 1 else ', of one seed'}."]
    seconds = {name: _seconds(results, name) for name in sizes}
    if seconds[sizes[0]] and seconds[sizes[-1]]:
        costs = ", ".join(f"{seconds[name]:.0f} s for {name}" for name in sizes)
        last = seconds[sizes[-1]] / _value(results, sizes[-1])
        sentences.append(f"All steps of a run take {costs}: {last:.2f} s per image of the whole set.")
    return Conclusion(sentences)


def _seconds(results: Sequence[Result], name: str) -> float:
    """Return the mean seconds of all steps of a variant's runs."""
    return fmean(sum(result.summary["seconds"].values()) for result in results if result.variant.name == name)


def _mean(results: Sequence[Result], place: Place) -> float:
    return fmean(seeds(results, place, "miou").values())


def _value(results: Sequence[Result], name: str) -> float:
    return next(result.variant.value or 0.0 for result in results if result.variant.name == name)


def _start(name: str) -> str:
    return {PAPERS: "The paper's settings"}.get(name, f"`{name}`" if " " not in name else name[0].upper() + name[1:])


#: The words of each experiment.
CONCLUSIONS: dict[str, Callable[[Sequence[Result]], Conclusion]] = {
    "presets": _presets,
    "patch-size": _patch_size,
    "clusters": _clusters,
    "ablation": _ablation,
    "dedicated": _dedicated,
    "data-size": _data_size,
}
