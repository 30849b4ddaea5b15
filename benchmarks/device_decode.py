"""Decoders of compressed films side by side: imagecodecs on the cores, DALI on a CUDA device (or on the CPU).

    python benchmarks/device_decode.py [--device cuda --films 64 --threads 16 --rounds 3]

Images/s of films of each kind, all at once, every film checked against what imagecodecs makes of it:

    imagecodecs   `resload.decode.decode`, so many threads
    DALI          the same with `other=` DALI's decoder: more threads, which wait for it; what it decodes stays there
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from common import interleaved, save, summary

from resload.decode import decode
from resload.pipeline.engine import engine_of
from resload.testing import synthetic_film

JPEG_SIDE, DEEP = 1024, (2048, 2560)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--films", type=int, default=64)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where to put the results (benchmarks/results)")
    args = parser.parse_args()
    engine = engine_of("dali", args.device, args.threads)
    found = {}
    for kind, file in kinds().items():
        files = [file] * args.films
        expected = decode(file)
        name = [decode(file, other=engine.other).decoder for _ in range(4)][-1]  # proven by then
        work: dict[str, Callable[[], float]] = {
            "imagecodecs": lambda files=files: rate(files, None, args.threads),
            "DALI": lambda files=files: rate(files, engine.other, args.threads + engine.waiting),
        }
        rates = {way: summary(runs) for way, runs in interleaved(work, args.rounds).items()}
        found[kind] = {"decoder": name, "worst": apart(decode(file, other=engine.other), expected), **rates}
    card = torch.cuda.get_device_name() if args.device.startswith("cuda") else "no card: DALI on the CPU"
    table = f"Films decoded per second ({card}; {args.threads} threads, {args.films} films at once).\n\n"
    table += "| kind | imagecodecs | decode='dali' | decoded by | apart, of 255 |\n|---|---|---|---|---|\n"
    table += "\n".join(
        f"| {kind} | {one['imagecodecs']['median']:,.0f} | {one['DALI']['median']:,.0f} | {one['decoder']} | "
        f"{one['worst']:.2g} |"
        for kind, one in found.items()
    )
    where = {} if args.out is None else {"folder": args.out}
    save("device_decode", table, {"card": card, "kinds": found, "films": args.films, "threads": args.threads}, **where)


def kinds() -> dict[str, bytes]:
    """One file of each kind."""
    small = synthetic_film(0, size=JPEG_SIDE).pixels.astype(np.uint8)
    deep = np.tile(synthetic_film(1, size=512).pixels.astype(np.uint16), (DEEP[0] // 512, DEEP[1] // 512))
    deep = (deep << 4) + np.random.default_rng(0).integers(0, 16, deep.shape).astype(np.uint16)
    large = f"{DEEP[0]} x {DEEP[1]}"
    return {
        f"JPEG, {JPEG_SIDE} x {JPEG_SIDE}": imagecodecs.jpeg8_encode(small, level=90),
        f"JPEG 2000 of 12 bits, {large}": in_dicom("90", 12, deep),
        f"HTJ2K of 16 bits, {large}": in_dicom("201", 16, deep << 4),
        f"lossless JPEG of 12 bits, {large}": in_dicom("70", 12, deep),
        f"PNG of 16 bits, {large}": imagecodecs.png_encode(deep),
    }


def in_dicom(syntax: str, bits: int, pixels: np.ndarray) -> bytes:
    """A film in a DICOM file, compressed."""
    import io

    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    coded = {
        "90": lambda: imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", bitspersample=bits),
        "201": lambda: imagecodecs.htj2k_encode(pixels),
        "70": lambda: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits),
    }[syntax]()
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.1", "1.2.3", "CR"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, bits, bits - 1, 0
    dataset.PixelData = encapsulate([coded])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.1.2.4.{syntax}")
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID,
        "1.2.3",
    )
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def rate(files: list[bytes], other: object, threads: int) -> float:
    """Films/s."""
    with ThreadPoolExecutor(threads) as pool:
        begun = time.perf_counter()
        list(pool.map(lambda file: decode(file, other=other).shape, files))
        return len(files) / (time.perf_counter() - begun)


def apart(found: object, expected: object) -> float:
    """Largest difference of two decodings, in 1/255 of the range."""
    codes = found.pixels if found.held is None else found.pixels[0][found.held.cpu().numpy()]
    return float(np.abs(codes.astype(int) - expected.pixels).max()) * 255 / ((1 << expected.bits) - 1)


if __name__ == "__main__":
    main()
