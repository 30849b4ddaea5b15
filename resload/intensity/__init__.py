"""Codes -> the values a model or a reader sees, as one table per image: recipes by name.

    grammar.py     recipes as text                      standard.py    what DICOM says: modality, VOI, polarity, padding
    statistics.py  histograms, extremes, percentiles    published.py   how two data sets made their JPEGs
    films.py       the table of one film                gather.py      tables applied, on a CPU or a GPU

    auto                display for DICOM files, none for others; resolved for each film
    display             what a reader sees: Modality LUT or rescale; VOI LUT or window, else the full range that can be
                        stored; polarity, once; padding black
    window(c, w)        the same through this window, in modality values, in place of the file's
    minmax              modality values from the film's smallest to its largest, padding not counted; polarity
    percentile(p, q)    the same between two percentiles of the film's pixels; what lies outside is clipped
    raw                 stored values, nothing interpreted: scale and offset lead back to them exactly
    mimic-jpg           256 levels as MIMIC-CXR-JPG's files were made; published.py says what is verified
    chexpert-jpg        256 levels as CheXpert's were
    none                codes as they are, for files without meaning

Options go into the same brackets, as in `display(polarity=presentation, voi=1)`:

    polarity    photometric, presentation or keep: what decides whether small values are white
    voi         display: 1 takes the second VOI LUT or window; a film without it is refused, but for voi=0
    prefer      display: lut or window, for films that have both
    function    window: linear, linear_exact or sigmoid
    colour      luma or reject: what becomes of files in colour

Statistics are those of the whole film at its own resolution: intensities come before fit and resample. A film of one
value, or one that is all padding, is black in `minmax` and `percentile`.
"""

from resload.intensity.films import Applied, Tabled, apply, pixel_table, resolve, shown, table, tabled
from resload.intensity.gather import mapped
from resload.intensity.grammar import RECIPES, Recipe

__all__ = [
    "RECIPES",
    "Applied",
    "Recipe",
    "Tabled",
    "apply",
    "mapped",
    "pixel_table",
    "resolve",
    "shown",
    "table",
    "tabled",
]
