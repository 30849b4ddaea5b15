"""What was found as lines for people: a table of ceilings, where the loader's time goes, and what to do."""

from resload.bench.advice import advice
from resload.bench.clock import Rate
from resload.bench.found import OTHER, THREADS, Found, Stage, bottleneck, lane_sum, shares
from resload.wording import columns, first_of


def lines(found: Found) -> list[str]:
    """All of it, in the order in which it is read."""
    return [
        *_head(found),
        *_table(found),
        *_time(found),
        *_model(found),
        *_unknown(found),
        *_advice(found),
        *_built(found),
    ]


def _head(found: Found) -> list[str]:
    what = f"{found.films:,} films" + (f" stored as {found.stored}" if found.kind == "cache" else "")
    origin = f" from {found.level}" if found.level not in (None, found.size) else ""
    asked = f"{found.dtype}, {found.channels} channel{'s' * (found.channels > 1)}, batches of {found.batch_size}"
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    return [
        f"{found.source}: {what}; {found.sampled:,} of them used",
        f"size {found.size}{origin} as {asked}, on {found.device}, {threads}",
    ]


def _table(found: Found) -> list[str]:
    rows = [["alone", "images/s", "from - to", "MB/s", "us per image and thread", "share of the loader"]]
    parts = shares(found)
    rows += [_row(one, _percent(parts[one.name]) if one.lane else "") for one in found.stages]
    whole = Stage(_threads(found.threads), found.loader, found.threads, found.image_bytes)
    if found.one_thread is not None:
        rows.append(_row(Stage(_threads(1), found.one_thread, 1, found.image_bytes), ""))
    rows.append(_row(whole, "100 %"))
    if found.model is not None:
        rows.append(["the model", *_three(found.model), "", ""])
    if found.together is not None:
        rows.append(["loader and model", *_three(found.together), "", ""])
    return columns(rows)


def _threads(count: int) -> str:
    return f"Loader, {count} thread{'s' * (count > 1)}"


def _row(stage: Stage, share: str) -> list[str]:
    numbers = _three(stage.rate)
    numbers[-1] = f"{stage.megabytes:,.0f}"
    return [stage.name, *numbers, _short(stage.microseconds), share]


def _three(rate: Rate) -> list[str]:
    return [_short(rate.median), f"{_short(rate.least)} - {_short(rate.most)}", ""]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _time(found: Found) -> list[str]:
    """What no step explains, and a word where the steps alone explain more than all."""
    whole = lane_sum(found, THREADS)
    if whole > 1:
        return [
            f"everything else: nothing; alone the steps take {_percent(whole)} of the loader's time (shares scaled)"
        ]
    return [f"everything else: {_percent(shares(found)[OTHER])} of the loader's time"]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _model(found: Found) -> list[str]:
    limit = f"a model that takes more than {_short(found.loader.median)} images/s would wait for the loader"
    if found.needs is not None:
        return [f"{limit}; this one needs {_short(found.needs)}"]
    if found.model is not None:
        return [f"{limit}; {found.model_name} takes {_short(found.model.median)}"]
    return [f"{limit} (--model or --needs says what yours takes)"]


def _unknown(found: Found) -> list[str]:
    missing = [f"not measured: {name}: {reason}" for name, reason in found.left_out.items()]
    bad = [f"  {name}: {reason}" for name, reason in found.unreadable.items()]
    head = [f"could not be read, and left out: {len(bad)}"] if bad else []
    return [*missing, *head, *first_of(bad, "--json has all of them")]


def _advice(found: Found) -> list[str]:
    said = [f"  - {sentence}" for sentence in advice(found)]
    return [f"bottleneck: {bottleneck(found)}", *(said or ["  - nothing stands out: no step is worth a change"])]


def _built(found: Found) -> list[str]:
    """What it was measured with."""
    told = found.machine
    if not told:
        return []
    limit = "" if told["cgroup_cores"] is None else f", limited to the time of {told['cgroup_cores']:g}"
    made, torch = told["pillow"], told["torch"]
    pillow = "no Pillow" if made is None else f"{made['distribution']} {made['version']} (not used by the loader)"
    sums = "in hardware" if told["crc32c"]["hardware"] else "in software"
    device = "" if torch["device"] is None else f", {torch['device']}"
    name, _, number = told["codecs"]["decoders"][0].rpartition(" ")
    return [
        f"{told['processor']}, {told['cores']} of {told['cores_of_machine']} cores{limit}; Python {told['python']}",
        f"torch {torch['version']} ({torch['cpu_capability']}, {torch['threads']} threads{device}), "
        f"numpy {told['numpy']}, crc32c {told['crc32c']['version']} {sums}, {pillow}",
        f"{name.partition('.')[0]} {number} ({', '.join(told['codecs']['libraries'])})",
    ]
