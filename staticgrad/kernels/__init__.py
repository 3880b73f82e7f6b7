"""What generated code calls besides plain loops: views of memory and matrix products."""
