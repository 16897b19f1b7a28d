"""Runs model.onnx by what model.json says about it: NumPy and onnxruntime, and Pillow for image files."""
