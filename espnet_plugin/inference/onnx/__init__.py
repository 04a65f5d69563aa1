"""A model as ONNX files, and queries answered with them, without PyTorch."""
