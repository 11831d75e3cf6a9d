"""PyTorch's word on what the training program computes and writes. Exits with 1 and a reason when they differ.

    torch_judge.py model FOLDER [PREDICTIONS]   the saved model, by TorchScript and by its weights
    torch_judge.py optimizer FILE               Adadelta and StepLR, step by step
    torch_judge.py weights FILE SEED            the weights that a network starts from
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

MEAN, STANDARD_DEVIATION = 0.1307, 0.3081


class Net(nn.Module):
    """The workshop's network."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        x = torch.flatten(functional.max_pool2d(x, 2), 1)
        return functional.log_softmax(self.fc2(functional.relu(self.fc1(x))), dim=1)


def same(what, ours, theirs, tolerance):
    ours, theirs = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
    if ours.shape != theirs.shape:
        sys.exit(f"{what}: {list(ours.shape)} from Rust, {list(theirs.shape)} from PyTorch")
    difference = (ours - theirs).abs().max().item()
    # Written so that NaN is a difference too.
    if not difference <= tolerance:
        sys.exit(f"{what}: Rust and PyTorch differ by {difference:g}, {tolerance:g} is allowed")
    print(f"{what}: the same to {difference:g}")


def judge_answers(what, folder, pixels, logits):
    pictures = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 28, 28)
    pictures = (pictures - MEAN) / STANDARD_DEVIATION
    script = torch.jit.load(folder / "model.pt", map_location="cpu")
    weights = Net()
    weights.load_state_dict(load_file(folder / "model.safetensors"))
    with torch.no_grad():
        same(f"{what}, by TorchScript", logits, script(pictures), 1e-4)
        same(f"{what}, by weights", logits, weights.eval()(pictures), 1e-4)


def model(folder, predictions=None):
    folder = pathlib.Path(folder)
    examples = json.loads((folder / "examples.json").read_text())
    pixels = torch.tensor(examples["pixels"]) / 255
    judge_answers("examples", folder, pixels.tolist(), examples["logits"])
    if predictions is not None:
        answers = json.loads(pathlib.Path(predictions).read_text())["predictions"]
        pixels = [answer["pixels"] for answer in answers]
        judge_answers("predictions", folder, pixels, [answer["logits"] for answer in answers])


def optimizer(file):
    given = json.loads(pathlib.Path(file).read_text())
    parameter = nn.Parameter(torch.tensor(given["start"]))
    adadelta = torch.optim.Adadelta([parameter], lr=given["lr"])
    schedule = torch.optim.lr_scheduler.StepLR(
        adadelta, step_size=given["step_size"], gamma=given["gamma"]
    )
    values, rates = [], []
    for epoch in given["gradients"]:
        for gradient in epoch:
            parameter.grad = torch.tensor(gradient)
            adadelta.step()
            values.append(parameter.detach().clone())
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    same("Adadelta", given["values"], torch.stack(values), 1e-6)
    same("StepLR", given["rates"], rates, 1e-12)


def weights(file, seed):
    torch.manual_seed(int(seed))
    expected = Net().state_dict()
    given = load_file(file)
    if given.keys() != expected.keys():
        sys.exit(f"weights: {sorted(given)} from Rust, {sorted(expected)} from PyTorch")
    for name in expected:
        same(name, given[name], expected[name], 0)


if __name__ == "__main__":
    verdicts = {"model": model, "optimizer": optimizer, "weights": weights}
    verdicts[sys.argv[1]](*sys.argv[2:])
