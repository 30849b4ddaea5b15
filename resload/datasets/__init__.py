"""Public data sets as catalogs: one short file for each, with the traps it handles and where they come from.

    nih.py          chestxray14               nlm_tb.py    shenzhen, montgomery
    stanford.py     chexpert                  tcia.py      cbis_ddsm
    mit.py          mimic_cxr_jpg             porto.py     inbreast
    bimcv.py        padchest                  vinmammo.py  vindr_mammo
    vindr.py        vindr_cxr                 dream.py     dream_dm
    siim.py         siim_pneumothorax
    rsna_pneu.py    rsna_pneumonia            files.py     tables, folders and what is missing, for all of them
    rsna_bone.py    rsna_bone_age             mentions.py  what report labelers say, and policies for it
    votes.py        several readers of one film, and policies for them
    headers.py      what DICOM headers say of patients

A data set's function takes the folder it was unpacked to and its policies, reads tables and lists folders, and opens
hardly any image.
"""

from resload.datasets.bimcv import padchest
from resload.datasets.dream import dream_dm
from resload.datasets.mit import mimic_cxr_jpg
from resload.datasets.nih import chestxray14
from resload.datasets.nlm_tb import montgomery, shenzhen
from resload.datasets.porto import inbreast
from resload.datasets.rsna_bone import rsna_bone_age
from resload.datasets.rsna_pneu import rsna_pneumonia
from resload.datasets.siim import siim_pneumothorax
from resload.datasets.stanford import chexpert
from resload.datasets.tcia import cbis_ddsm
from resload.datasets.vindr import vindr_cxr
from resload.datasets.vinmammo import vindr_mammo

__all__ = [
    "cbis_ddsm",
    "chestxray14",
    "chexpert",
    "dream_dm",
    "inbreast",
    "mimic_cxr_jpg",
    "montgomery",
    "padchest",
    "rsna_bone_age",
    "rsna_pneumonia",
    "shenzhen",
    "siim_pneumothorax",
    "vindr_cxr",
    "vindr_mammo",
]
