"""What a resolution loses: for each size of a cache, its bytes, its millimetres, how many pixels are left of a finding,
and how much of the film's detail.

    numbers    the middle and the spread of many values, and plain values for JSON
    lesions    sizes of findings in pixels of the target
    detail     two images of one film, compared: error, and energy kept in each octave of spatial frequency
    films      which films are compared, and with what: the file's own pixels, or those of a larger size
    document   the report, and the function that makes it
    drawing    the report as a figure
"""

from resload.report.document import Detail, Octave, Report, SizeReport, resolution_report
from resload.report.lesions import LesionSize
from resload.report.numbers import Spread

__all__ = ["Detail", "LesionSize", "Octave", "Report", "SizeReport", "Spread", "resolution_report"]
