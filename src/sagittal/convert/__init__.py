"""From DICOM objects to other forms, and back."""
