"""The peers' side of speed.py, in their environment: fit and export once, then serve.

anomalib's own modules, exports and inferencers with what it sets by itself, on the project's backbone and 224 x 224 pictures.
Beside each inferencer stands what it wraps, called with nothing around it: the compiled OpenVINO model, and the torch module
in inference mode. PatchCore's centres are drawn at random here instead of greedily: what a picture takes depends on their
number alone, and the greedy choice takes hours.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from anomalib.deploy import OpenVINOInferencer, TorchInferencer
from anomalib.models import Padim, Patchcore
from anomalib.models.components.base import AnomalibModule
from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import Compose, Normalize, Resize

from benchmarks.conditions import conditions
from benchmarks.peers.methods import (
    CORESET,
    PADIM_FEATURES,
    PADIM_LAYERS,
    PATCHCORE_LAYERS,
    PATCHCORE_NEIGHBOURS,
    fit,
    patches,
)
from benchmarks.peers.pictures import (
    BACKBONE,
    INPUT_SIZE,
    NORMALISATION_MEAN,
    NORMALISATION_SCALE,
    Features,
    build_extractor,
    read_split,
)
from benchmarks.peers.turns import Frames, answers_alone, serve

SET = "magnetic_tile"
METHODS = {"padim": "PaDiM", "patchcore_10": "PatchCore 10 %"}
PACKAGES = ("anomalib", "openvino", "torch", "torchvision", "timm", "onnx", "onnxscript", "numpy")


def make(data: Path, folder: Path) -> None:
    """Fit on the normals that set no threshold, and export, each as anomalib does."""
    split = read_split(data / "splits" / f"{SET}.json")
    normals = [name for name in split.train_normal if name not in set(split.calib_normal)]
    features = Features(data, SET, normals, PADIM_LAYERS)
    settings = {
        "backbone": BACKBONE,
        "pre_trained": False,
        "pre_processor": PreProcessor(
            Compose(
                [
                    Resize(INPUT_SIZE, antialias=True),
                    Normalize([NORMALISATION_MEAN / 255] * 3, [NORMALISATION_SCALE / 255] * 3),
                ]
            )
        ),
        "evaluator": False,
        "visualizer": False,
    }
    padim = Padim(layers=PADIM_LAYERS, n_features=PADIM_FEATURES, **settings)
    padim.model = fit("padim", features, normals, 0)
    padim.model.feature_extractor = build_extractor(PADIM_LAYERS)
    patchcore = Patchcore(layers=PATCHCORE_LAYERS, num_neighbors=PATCHCORE_NEIGHBOURS, **settings)
    bank = patches(features, normals)
    del features
    drawn = torch.randperm(len(bank), generator=torch.Generator().manual_seed(0))[
        : int(CORESET["patchcore_10"] * len(bank))
    ]
    patchcore.model.memory_bank = bank[drawn].clone()
    patchcore.model.feature_extractor = build_extractor(PATCHCORE_LAYERS)
    for name, module in (("padim", padim), ("patchcore_10", patchcore)):
        module.eval()
        module.to_torch(folder / name)
        # For one picture: with the batch left open, its default, anomalib 2.7 exports a PatchCore that takes two at once only.
        module.to_openvino(folder / name, input_size=INPUT_SIZE, onnx_kwargs={"dynamic_axes": None})


def rgb(frame: Frames) -> Frames:
    """What an anomalib user hands over."""
    return np.ascontiguousarray(frame[:, :, ::-1])


def openvino_inferred(inferencer: OpenVINOInferencer) -> Callable[[Frames], float]:
    """As an anomalib user calls it."""
    return lambda frame: float(inferencer.predict(rgb(frame)).pred_score.flat[0])


def torch_inferred(inferencer: TorchInferencer) -> Callable[[Frames], float]:
    """As an anomalib user calls it."""
    return lambda frame: float(inferencer.predict(rgb(frame)).pred_score)


def compiled(path: Path) -> Callable[[Frames], float]:
    """OpenVINO alone, for one picture: one conversion of the frame into the request's own tensor, and the request."""
    model = ov.Core().compile_model(path, "CPU")
    request = model.create_infer_request()
    at = next(number for number, output in enumerate(model.outputs) if "pred_score" in output.names)
    pixels = request.get_input_tensor().data

    def way(frame: Frames) -> float:
        np.multiply(frame[:, :, ::-1].transpose(2, 0, 1), np.float32(1 / 255), out=pixels[0])
        request.infer()
        return float(request.get_output_tensor(at).data.flat[0])

    return way


def in_torch(module: AnomalibModule) -> Callable[[Frames], float]:
    """The module alone, without autograd."""

    def way(frame: Frames) -> float:
        with torch.inference_mode():
            picture = torch.from_numpy(rgb(frame)).permute(2, 0, 1)[None].float() / 255
            return float(module(picture).pred_score)

    return way


def main(data: Path, folder: Path, frames: Frames) -> None:
    """Make what is missing, and serve."""
    answers = answers_alone()
    exports = {name: folder / name / "weights" for name in METHODS}
    if not all((weights / "openvino/model.xml").exists() for weights in exports.values()):
        make(data, folder)
    ways: dict[str, Callable[[Frames], float]] = {}
    precision: dict[str, str] = {}
    for name, title in METHODS.items():
        graph, pickled = exports[name] / "openvino/model.xml", exports[name] / "torch/model.pt"
        by_openvino, by_torch = OpenVINOInferencer(graph, device="CPU"), TorchInferencer(pickled, device="cpu")
        precision[title] = by_openvino.model.get_property("INFERENCE_PRECISION_HINT").to_string()
        ways |= {
            f"{title}, OpenVINOInferencer": openvino_inferred(by_openvino),
            f"{title}, its OpenVINO model alone": compiled(graph),
            f"{title}, TorchInferencer": torch_inferred(by_torch),
            f"{title}, its torch module alone": in_torch(by_torch.model),
        }
    about = {
        "conditions": conditions(PACKAGES),
        "openvino_precision": precision,
        "torch_threads": torch.get_num_threads(),
    }
    serve(answers, ways, frames, about)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), np.load(sys.argv[3]))
