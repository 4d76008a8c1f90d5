"""The commands of ``python -m fastconv`` and the convolution problems that they share with tests and benchmarks."""
