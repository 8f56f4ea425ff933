"""The engine of `dicom.reader`: coding (how bytes are read), memo, levels (nesting and JSON), scan (the loop)."""
