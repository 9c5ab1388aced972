"""Other libraries' values of the metrics, under our names.

Where a library has no value of a set, the means over its values of single images are taken here.
Where it fills what is undefined with a number, that number is taken out again, and a comment says
which. Each library is imported when it is used: they are slow to import, and not all are needed.
"""

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from metric_cases import CLASSES, OBJECTS, SPACING_MM, Array, Pair, Scores
from metric_definitions import Table, Value, by_class, image_mean, mean, sides, volume_means

from bench.data.items import IGNORE


def sklearn_maps(pairs: Sequence[Pair]) -> Scores:
    """Flattened pixels; it says 0 for a class without any, which is left out here."""
    metrics = importlib.import_module("sklearn.metrics")
    flat = [(p[t != IGNORE], t[t != IGNORE]) for p, t in pairs]
    found, truth = whole = tuple(np.concatenate(part) for part in zip(*flat, strict=True))
    if not truth.size:
        return {}  # it refuses to average nothing
    scores: Scores = {"pixel_accuracy": metrics.accuracy_score(truth, found)}
    for name, way in (("dice", metrics.f1_score), ("iou", metrics.jaccard_score)):

        def values(pair: Any, way: Any = way) -> list[Value]:
            of_class = way(*pair, labels=[0, 1, 2], average=None, zero_division=0)
            return [v if (i == pair).any() else None for i, v in enumerate(of_class)]

        scores |= _of_set(name, values(np.array(whole)))
        scores[f"{name}_image_mean"] = image_mean(
            [values(np.array(pair))[1:] for pair in flat if pair[1].size]
        )
    return scores


def torchmetrics_maps(pairs: Sequence[Pair]) -> Scores:
    """Updated image by image, so its state is that of the set; it says 0 for what has no pixel."""
    torch, library = map(importlib.import_module, ("torch", "torchmetrics.classification"))
    asked: dict[str, Any] = {"num_classes": len(CLASSES), "ignore_index": IGNORE}
    dice, iou, accuracy = measures = [
        library.MulticlassF1Score(**asked, average="none"),
        library.MulticlassJaccardIndex(**asked, average="none"),
        library.MulticlassAccuracy(**asked, average="micro"),
    ]
    for prediction, truth in pairs:
        cleaned = np.where(truth == IGNORE, 0, prediction)  # else refused
        for measure in measures:
            measure.update(torch.from_numpy(cleaned[None]).long(), torch.from_numpy(truth[None]))
    held = [any(side.any() for p in pairs for side in sides(p, i)) for i in range(len(CLASSES))]
    scores: Scores = {"pixel_accuracy": accuracy.compute() if any(held) else None}
    for name, measure in (("dice", dice), ("iou", iou)):
        values = zip(measure.compute().tolist(), held, strict=True)
        scores |= _of_set(name, [value if known else None for value, known in values])
    return scores


def monai_maps(pairs: Sequence[Pair]) -> Scores:
    """HD95 is the larger of the two directed ones; infinite or NaN where a side is empty."""
    monai = importlib.import_module("monai.metrics")
    hot = [_one_hot(pair) for pair in pairs]
    hd95 = [monai.compute_hausdorff_distance(*both, percentile=95)[0].tolist() for both in hot]
    scores = {f"{name}_image_mean": image_mean(t) for name, t in _monai_overlaps(pairs).items()}
    return scores | {"hd95_max_px": image_mean(_defined(hd95))}


def medpy_maps(pairs: Sequence[Pair]) -> Scores:
    """HD95 is the percentile of both sets of distances together."""
    binary = importlib.import_module("medpy.metric.binary")
    return {"hd95_pooled_px": image_mean(by_class(pairs, _if_both(binary.hd95)))}


def pysodmetrics_maps(pairs: Sequence[Pair]) -> Scores:
    library = importlib.import_module("py_sod_metrics")
    asked: Any = ({"alpha": 0.5}, {}, {"beta": 0.3}, {"beta": 1}, {})
    names = "Smeasure", "Emeasure", "Fmeasure", "WeightedFmeasure", "MAE"
    measures = [getattr(library, n)(**a) for n, a in zip(names, asked, strict=True)]
    for grey, truth in pairs:
        for measure in measures:
            measure.step(grey, truth.astype(np.uint8) * 255)
    structure, alignment, plain, weighted, error = (m.get_results() for m in measures)
    return {
        "s_alpha": structure["sm"],
        **_of_curve("e_phi", alignment["em"]),
        **_of_curve("f_beta", plain["fm"]),
        "weighted_f": weighted["wfm"],
        "mae": error["mae"],
    }


def sklearn_grey(pairs: Sequence[Pair]) -> Scores:
    """Balanced error is 1 - balanced accuracy, which needs both sides in the truth."""
    metrics = importlib.import_module("sklearn.metrics")

    def rate(truth: Array, found: Array) -> Value:
        known = truth.any() and not truth.all()
        return 100 * (1 - metrics.balanced_accuracy_score(truth, found)) if known else None

    flat = [(truth.ravel(), grey.ravel()) for grey, truth in pairs]
    truth, grey = (np.concatenate(part) for part in zip(*flat, strict=True))
    return {
        "mae_unstretched": mean(metrics.mean_absolute_error(t, g / 255) for t, g in flat),
        "ber_image_mean": mean(rate(t, g > 125) for t, g in flat),
        "ber_dataset": rate(truth, grey > 125),
    }


def torchmetrics_objects(pairs: Sequence[Pair]) -> Scores:
    """Panoptic quality with one thing and the background as stuff, which is left out."""
    torch, library = map(importlib.import_module, ("torch", "torchmetrics.detection"))
    asked: dict[str, Any] = {"return_sq_and_rq": True, "return_per_class": True}

    def qualities(some: Sequence[Pair]) -> dict[str, Value]:
        measure = library.PanopticQuality(things={1}, stuffs={0}, **asked)
        for pair in some:
            measure.update(*(torch.from_numpy(np.stack([n > 0, n], -1) * 1)[None] for n in pair))
        pq, sq, dq = measure.compute()[0].tolist()
        # It says 0 without objects, and for the mean IoU of no matches.
        any_object = any(side.any() for pair in some for side in pair)
        return {
            "pq": pq if any_object else None,
            "sq": sq if dq else None,
            "dq": dq if any_object else None,
        }

    whole, images = qualities(pairs), [qualities([pair]) for pair in pairs]
    return {f"{name}_dataset": value for name, value in whole.items()} | {
        f"{name}_image_mean": mean(image[name] for image in images) for name in whole
    }


def stardist_objects(pairs: Sequence[Pair]) -> Scores:
    """Its accuracy is TP / (TP + FP + FN); 0 without objects, which is left out here."""
    matching = importlib.import_module("stardist.matching").matching

    def precision(some: Sequence[Pair], least: float) -> Value:
        found = [matching(truth, prediction, thresh=least) for prediction, truth in some]
        below = sum(one.tp + one.fp + one.fn for one in found)
        return float(sum(one.tp for one in found) / below) if below else None

    scores: Scores = {}
    for name, percents in (("ap", range(50, 100, 5)), ("ap50", [50])):
        whole, *images = (
            mean(precision(some, percent / 100) for percent in percents)
            for some in (pairs, *([pair] for pair in pairs))
        )
        scores |= {f"{name}_dataset": whole, f"{name}_dataset/{OBJECTS[1]}": whole}
        scores[f"{name}_image_mean"] = mean(images)
    return scores


def monai_volumes(pairs: Sequence[Pair]) -> Scores:
    monai = importlib.import_module("monai.metrics")
    hot = [_one_hot(pair) for pair in pairs]
    asked: dict[str, Any] = {"spacing": SPACING_MM}
    hd95 = [monai.compute_hausdorff_distance(*h, percentile=95, **asked)[0].tolist() for h in hot]
    mean_distance = [
        monai.compute_average_surface_distance(*both, symmetric=True, **asked)[0].tolist()
        for both in hot
    ]
    return (
        {k: v for n, t in _monai_overlaps(pairs).items() for k, v in volume_means(n, t).items()}
        | volume_means("hd95_max_mm", _defined(hd95))
        | volume_means("assd_pooled_mm", _defined(mean_distance))
    )


def medpy_volumes(pairs: Sequence[Pair]) -> Scores:
    """Its Dice of nothing is 0 and its IoU 1, which is left out here, as are the distances."""
    binary = importlib.import_module("medpy.metric.binary")
    asked: dict[str, Any] = {"voxelspacing": SPACING_MM}
    measures: dict[str, Callable[[Array, Array], Value]] = {
        "dice": lambda f, t: binary.dc(f, t) if (f | t).any() else None,
        "iou": lambda f, t: binary.jc(f, t) if (f | t).any() else None,
        "hd95_pooled_mm": _if_both(lambda f, t: binary.hd95(f, t, **asked)),
        "assd_pooled_mm": _if_both(lambda f, t: binary.assd(f, t, **asked)),
        "assd_mean_mm": _if_both(
            lambda f, t: (binary.asd(f, t, **asked) + binary.asd(t, f, **asked)) / 2
        ),
    }
    scores: Scores = {}
    for name, measure in measures.items():
        scores |= volume_means(name, by_class(pairs, measure))
    return scores


def number(value: Any) -> Value:
    """As a float; NaN and infinity, by which libraries say undefined, as None."""
    return float(value) if value is not None and math.isfinite(value) else None


def _defined(table: Sequence[Sequence[float]]) -> Table:
    return [[number(value) for value in row] for row in table]


def _of_set(name: str, values: Sequence[Value]) -> Scores:
    """A value of each class, and their means."""
    scores: Scores = {f"{name}/{one}": value for one, value in zip(CLASSES, values, strict=True)}
    everywhere: Scores = {"iou_dataset_all": mean(values)} if name == "iou" else {}
    return scores | {f"{name}_dataset": mean(values[1:])} | everywhere


def _of_curve(name: str, found: Any) -> Scores:
    curve = found["curve"]
    return {f"{name}_adaptive": found["adp"], f"{name}_mean": curve.mean()} | {
        f"{name}_max": curve.max()
    }


def _one_hot(pair: Pair) -> list[Any]:
    """Prediction and truth as float tensors (1, 3, ...); ignored pixels in no channel."""
    torch = importlib.import_module("torch")
    parts = zip(*(sides(pair, index) for index in range(3)), strict=True)
    return [torch.from_numpy(np.stack(channels)[None]).float() for channels in parts]


def _monai_overlaps(pairs: Sequence[Pair]) -> dict[str, Table]:
    """Dice and IoU of the foreground; it says 1 where both sides are empty, else NaN or 0."""
    monai = importlib.import_module("monai.metrics")
    asked: dict[str, Any] = {"include_background": False, "ignore_empty": False}
    held = by_class(pairs, lambda found, truth: bool((found | truth).any()))
    tables = {}
    for name, way in (("dice", monai.compute_dice), ("iou", monai.compute_iou)):
        values = [way(*_one_hot(pair), **asked)[0].tolist() for pair in pairs]
        tables[name] = [
            [number(value) if known else None for value, known in zip(*row, strict=True)]
            for row in zip(values, held, strict=True)
        ]
    return tables


def _if_both(measure: Callable[[Array, Array], Any]) -> Callable[[Array, Array], Value]:
    """The measure where both sides hold something; libraries refuse the rest."""
    return lambda f, t: float(measure(f, t)) if f.any() and t.any() else None
