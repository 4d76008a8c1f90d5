"""The peers that there are, and which of them are installed."""

from fastconv.cli.peers.interface import Peer

__all__ = ["PEERS", "installed"]

_HERE = "fastconv.cli.peers"
_ONEDNN = {"avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "baseline": {"ONEDNN_MAX_CPU_ISA": "SSE41"}}
_TORCH = {
    "avx2": {**_ONEDNN["avx2"], "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "baseline": {**_ONEDNN["baseline"], "ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}

PEERS = {
    peer.name: peer
    for peer in (
        Peer("torch", f"{_HERE}.torch", ("torch",), ("torch",), "contiguous_format", _TORCH),
        Peer("torch-channels-last", f"{_HERE}.torch", ("torch",), ("torch",), "channels_last", _TORCH),
        Peer("onnxruntime", f"{_HERE}.onnxruntime", ("onnxruntime", "onnx"), ("onnxruntime", "onnx")),
        Peer("openvino", f"{_HERE}.openvino", ("openvino", "onnx"), ("openvino", "onnx"), caps=_ONEDNN),
        Peer("ncnn", f"{_HERE}.ncnn", ("ncnn",), ("ncnn",)),
        # Its wheels hold no AVX-512 code.
        Peer("mnn", f"{_HERE}.mnn", ("MNN", "onnx"), ("MNN", "_tools", "onnx"), caps={"avx2": {}}),
    )
}
"""Every peer by its name, in the order of the tables."""


def installed() -> list[str]:
    """Names of the peers that are installed, in the order of the tables."""
    return [name for name, peer in PEERS.items() if peer.is_installed()]
