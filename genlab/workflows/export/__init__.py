"""A trained model for use elsewhere: as one file that genlab reads, as an ONNX graph, as a program of torch.export."""
