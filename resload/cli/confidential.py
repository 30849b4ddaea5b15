"""Columns that are named like DICOM attributes by which people could be recognised."""

import re

_ATTRIBUTES = """
    AccessionNumber AcquisitionDate AcquisitionDateTime AcquisitionTime AdditionalPatientHistory AdmissionID
    AdmittingDate ContentDate ContentTime CurrentPatientLocation DetectorID DeviceSerialNumber EthnicGroup
    FillerOrderNumberImagingServiceRequest ImageComments InstitutionAddress InstitutionName
    InstitutionalDepartmentName IssuerOfPatientID MilitaryRank NameOfPhysiciansReadingStudy Occupation OperatorsName
    OtherPatientIDs OtherPatientNames PatientAddress PatientAge PatientBirthDate PatientBirthName PatientBirthTime
    PatientComments PatientID PatientMotherBirthName PatientName PatientSex PatientSize PatientTelephoneNumbers
    PatientWeight PerformedProcedureStepDescription PerformedProcedureStepStartDate PerformingPhysicianName
    PlacerOrderNumberImagingServiceRequest ProtocolName ReasonForStudy ReferringPhysicianName RegionOfResidence
    RequestedProcedureID RequestingPhysician ScheduledProcedureStepID SeriesDate SeriesDescription SeriesTime
    StationName StudyComments StudyDate StudyDescription StudyID StudyTime
"""
_KNOWN = {name.lower() for name in _ATTRIBUTES.split()}
_NOT_LETTERS = re.compile(r"[^a-z]")


def is_confidential(name: str) -> bool:
    """Whether a column has the keyword of an attribute that DICOM's Basic Application Level Confidentiality Profile
    (PS3.15, Table E.1-1) has removed, emptied or replaced: names, numbers, dates, places, texts, and every UID.

    Spelled in any way: `PatientBirthDate`, `patient_birth_date`, `StudyDate_DICOM`.
    """
    word = name.removesuffix("_DICOM")
    return _NOT_LETTERS.sub("", word.lower()) in _KNOWN or word.endswith(("UID", "_uid"))
