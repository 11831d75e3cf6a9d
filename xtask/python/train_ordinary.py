"""The workshop's train.py as people write it: a data set that transforms each picture, and a DataLoader.

    train_ordinary.py DATA EPOCHS SEED

The data set and its transforms do what torchvision's MNIST, ToTensor and Normalize do, without torchvision.
"""

import pathlib
import sys

import numpy
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        x = self.dropout1(functional.max_pool2d(x, 2))
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return functional.log_softmax(self.fc2(self.dropout2(x)), dim=1)


def to_tensor(picture):
    values = torch.from_numpy(numpy.array(picture, numpy.uint8, copy=True))
    values = values.view(picture.size[1], picture.size[0], 1).permute((2, 0, 1)).contiguous()
    return values.to(dtype=torch.get_default_dtype()).div(255)


def normalize(tensor, mean=(0.1307,), std=(0.3081,)):
    tensor = tensor.clone()
    mean = torch.as_tensor(mean, dtype=tensor.dtype).view(-1, 1, 1)
    std = torch.as_tensor(std, dtype=tensor.dtype).view(-1, 1, 1)
    return tensor.sub_(mean).div_(std)


class Mnist(Dataset):
    def __init__(self, folder, part):
        def entries(name, header):
            content = bytearray((pathlib.Path(folder) / name).read_bytes()[header:])
            return torch.frombuffer(content, dtype=torch.uint8)

        self.data = entries(f"{part}-images-idx3-ubyte", 16).view(-1, 28, 28)
        self.targets = entries(f"{part}-labels-idx1-ubyte", 8).long()

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        picture, target = self.data[index], int(self.targets[index])
        return normalize(to_tensor(Image.fromarray(picture.numpy(), mode="L"))), target


def train(model, device, loader, optimizer, epoch):
    model.train()
    for number, (data, target) in enumerate(loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        loss = functional.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        if number % 10 == 0:
            seen, total = number * len(data), len(loader.dataset)
            percent = 100.0 * number / len(loader)
            print(f"Train Epoch: {epoch} [{seen}/{total} ({percent:.0f}%)]\tLoss: {loss.item():.6f}")


def test(model, device, loader):
    model.eval()
    loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            loss += functional.nll_loss(output, target, reduction="sum").item()
            correct += output.argmax(dim=1).eq(target).sum().item()
    total = len(loader.dataset)
    percent = 100.0 * correct / total
    print(f"\nTest set: Average loss: {loss / total:.4f}, Accuracy: {correct}/{total} ({percent:.0f}%)\n")


def main(folder, epochs, seed):
    torch.manual_seed(int(seed))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    # Without a GPU, train.py asks for no workers.
    options = {"num_workers": 1, "persistent_workers": True, "pin_memory": True} if cuda else {}
    train_loader = DataLoader(Mnist(folder, "train"), batch_size=64, shuffle=True, **options)
    test_loader = DataLoader(Mnist(folder, "t10k"), batch_size=1000, **options)
    model = Net().to(device)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    for epoch in range(1, int(epochs) + 1):
        train(model, device, train_loader, optimizer, epoch)
        test(model, device, test_loader)
        scheduler.step()
    torch.save(model.state_dict(), "mnist_cnn.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
