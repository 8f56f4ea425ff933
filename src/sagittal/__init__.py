"""Sagittal: the Python-native DICOM archive and toolkit."""
