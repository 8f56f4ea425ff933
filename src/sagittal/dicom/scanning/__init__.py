"""The engine of `dicom.reader`: values, coding (how bytes are read), memo, levels (nesting, JSON), scan (the loop)."""
