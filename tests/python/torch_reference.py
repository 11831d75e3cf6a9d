"""PyTorch's word on what the training program computes and writes. Exits with 1 and a reason when they differ.

    torch_reference.py model FOLDER [PREDICTIONS]   the saved model, by all who can open it
    torch_reference.py optimizer FILE               Adadelta and StepLR, step by step
    torch_reference.py weights FILE SEED            the weights that a network starts from
    torch_reference.py training FILE                some steps of training without dropout: losses and weights
    torch_reference.py dropout FILE                 what dropout does to the answers for one picture
    torch_reference.py accuracy FILE                what is learnt in two epochs, for several seeds
"""

import gzip
import json
import pathlib
import statistics
import sys

import mlflow
import onnxruntime
import torch
from google.protobuf import text_format
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from tritonclient.grpc import model_config_pb2

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
        x = functional.dropout(functional.max_pool2d(x, 2), 0.25, self.training)
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        x = functional.dropout(x, 0.5, self.training)
        return functional.log_softmax(self.fc2(x), dim=1)


def same(what, ours, theirs, tolerance):
    ours, theirs = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
    if ours.shape != theirs.shape:
        sys.exit(f"{what}: {list(ours.shape)} from Rust, {list(theirs.shape)} from PyTorch")
    difference = (ours - theirs).abs().max().item()
    # Written so that NaN is a difference too.
    if not difference <= tolerance:
        sys.exit(f"{what}: Rust and PyTorch differ by {difference:g}, {tolerance:g} is allowed")
    print(f"{what}: the same to {difference:g}")


def compare_answers(what, folder, pixels, logits):
    pictures = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 28, 28)
    pictures = (pictures - MEAN) / STANDARD_DEVIATION
    script = torch.jit.load(folder / "model.pt", map_location="cpu")
    weights = Net()
    weights.load_state_dict(load_file(folder / "model.safetensors"))
    with torch.no_grad():
        same(f"{what}, by TorchScript", logits, script(pictures), 1e-4)
        same(f"{what}, by weights", logits, weights.eval()(pictures), 1e-4)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (answers,) = session.run(["output"], {"input": pictures.numpy()})
    same(f"{what}, by ONNX Runtime", logits, answers, 1e-4)
    answers = mlflow.pyfunc.load_model(str(folder)).predict(pictures.numpy())
    same(f"{what}, by MLflow", logits, answers, 1e-4)
    # PyTorch opens TorchScript only for those who trust it.
    script = mlflow.pytorch.load_model(str(folder), map_location="cpu", weights_only=False)
    with torch.no_grad():
        same(f"{what}, by MLflow's PyTorch", logits, script(pictures), 1e-4)
    return pictures


def served(repository, pictures, logits):
    """What Triton makes of its folder: the configuration, by its own messages, and the model that it would load."""
    (model,) = repository.iterdir()
    text = (model / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    (given,), (taken,) = config.input, config.output
    if (config.name, config.platform) != (model.name, "pytorch_libtorch"):
        sys.exit(f"Triton would not find the model: {config}")
    if (given.name, taken.name) != ("INPUT__0", "OUTPUT__0"):
        sys.exit(f"Triton would not know what goes in and comes out: {config}")
    for side, tensor in (given, pictures), (taken, torch.tensor(logits)):
        if side.data_type != model_config_pb2.TYPE_FP32 or list(side.dims) != list(tensor.shape[1:]):
            sys.exit(f"Triton would expect other shapes than {list(tensor.shape[1:])}: {side}")
    script = torch.jit.load(model / "1" / "model.pt", map_location="cpu")
    with torch.no_grad():
        same("Triton's model", logits, script(pictures), 1e-4)


def model(folder, predictions=None):
    folder = pathlib.Path(folder)
    examples = json.loads((folder / "examples.json").read_text())
    pixels = torch.tensor(examples["pixels"]) / 255
    pictures = compare_answers("examples", folder, pixels.tolist(), examples["logits"])
    # With predictions, the folder is where a training has written it, and Triton's lies beside it.
    if predictions is not None:
        answers = json.loads(pathlib.Path(predictions).read_text())["predictions"]
        pixels = [answer["pixels"] for answer in answers]
        compare_answers("predictions", folder, pixels, [answer["logits"] for answer in answers])
        served(folder.parent / "model_repository", pictures, examples["logits"])


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


def mnist(folder, part):
    """Normalised pictures and their labels, as torchvision's transforms give them."""

    def entries(name, header):
        path = pathlib.Path(folder) / name
        archive = path.with_name(f"{name}.gz")
        content = gzip.decompress(archive.read_bytes()) if archive.exists() else path.read_bytes()
        return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8)

    pictures = entries(f"{part}-images-idx3-ubyte", 16).view(-1, 1, 28, 28)
    pictures = (pictures.float().div(255) - MEAN) / STANDARD_DEVIATION
    return pictures, entries(f"{part}-labels-idx1-ubyte", 8).long()


def training(file):
    given = json.loads(pathlib.Path(file).read_text())
    pictures, labels = mnist(given["data"], "train")
    net = Net().eval()
    net.load_state_dict(load_file(given["start"]))
    adadelta = torch.optim.Adadelta(net.parameters(), lr=given["lr"])
    schedule = torch.optim.lr_scheduler.StepLR(
        adadelta, step_size=given["step_size"], gamma=given["gamma"]
    )
    losses = []
    for number in range(len(given["losses"])):
        batch = slice(number * given["batch_size"], (number + 1) * given["batch_size"])
        adadelta.zero_grad()
        loss = functional.nll_loss(net(pictures[batch]), labels[batch])
        loss.backward()
        adadelta.step()
        schedule.step()
        losses.append(loss.item())
    if not losses[-1] < losses[0] / 2:
        sys.exit(f"training: PyTorch itself learnt nothing: {losses}")
    same("losses", given["losses"], losses, 1e-4)
    for name, value in load_file(given["end"]).items():
        same(f"{name} after {len(losses)} steps", value, net.state_dict()[name], 1e-3)


def dropout(file):
    given = json.loads(pathlib.Path(file).read_text())
    pictures, _ = mnist(given["data"], "t10k")
    torch.manual_seed(1)
    net = Net().train()
    net.load_state_dict(load_file(given["weights"]))
    ours = torch.tensor(given["answers"])
    with torch.no_grad():
        theirs = net(pictures[:1].repeat(len(ours), 1, 1, 1))
    # Logarithms of probabilities have a long tail; less their mean, they are what the last layer gave, which has none.
    ours, theirs = (answers - answers.mean(1, keepdim=True) for answers in (ours, theirs))
    for digit in range(10):
        one, other = ours[:, digit], theirs[:, digit]
        error = ((one.var() + other.var()) / len(ours)).sqrt().item()
        same(f"mean of {digit}'s answers", one.mean(), other.mean(), 5 * error)
        same(f"spread of {digit}'s answers", one.std() / other.std(), 1, 0.2)


def accuracy(file):
    given = json.loads(pathlib.Path(file).read_text())
    pictures, labels = mnist(given["data"], "train")
    unseen, answers = mnist(given["data"], "t10k")
    theirs = []
    for seed in given["seeds"]:
        torch.manual_seed(seed)
        net = Net()
        adadelta = torch.optim.Adadelta(net.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.StepLR(adadelta, step_size=1, gamma=0.7)
        for _ in range(2):
            net.train()
            for chosen in torch.randperm(len(labels)).split(64):
                adadelta.zero_grad()
                functional.nll_loss(net(pictures[chosen]), labels[chosen]).backward()
                adadelta.step()
            schedule.step()
        with torch.no_grad():
            right = net.eval()(unseen).argmax(1) == answers
        theirs.append(100 * right.float().mean().item())
    print(f"accuracy: {given['accuracies']} from Rust, {theirs} from PyTorch")
    # Of a thousand pictures, each twentieth of which is missed, a run is off by 0.7 or so.
    same("mean accuracy", statistics.mean(given["accuracies"]), statistics.mean(theirs), 2)


if __name__ == "__main__":
    verdicts = {
        "model": model,
        "optimizer": optimizer,
        "weights": weights,
        "training": training,
        "dropout": dropout,
        "accuracy": accuracy,
    }
    verdicts[sys.argv[1]](*sys.argv[2:])
