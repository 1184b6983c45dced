"""Faults of plugins of every kind, met through the command line: one message that names them.

Every case installs a distribution with one faulty component and runs the real program. It states
when the fault is found: what comes before must succeed. Nothing may be accepted in silence.
"""

import importlib
import json
import sys
from collections import Counter

import pytest

from faulty import DISTRIBUTION, FOUND, MODULE, VERSION, Fault, only_error
from reid_core.cli import main
from reid_core.hookspecs import KINDS

pytestmark = pytest.mark.usefixtures("one_thread", "small_parts", "no_pictures")

BACKBONES = [
    Fault(
        "backbone",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("was built as None; expected a torch.nn.Module",),
    ),
    Fault(
        "backbone",
        "build exits",
        "check",
        "def build(params): raise SystemExit('no weights')  # raises",
        ("failed while it was built: SystemExit: no weights",),
    ),
    Fault(
        "backbone",
        "build asks for a keyword of another kind",
        "check",
        "def build(params, *, num_pids): return Net()",
        ("it asks for num_pids; its kind offers input_size, side_values",),
    ),
    Fault(
        "backbone",
        "returns a tensor",
        "check",
        """
class Bare(Net):
    def forward(self, images, side): return self.map(images)

def build(params): return Bare()
""",
        ("returned a tensor of torch.float32 and shape (2, 8, 2, 1); expected a FeatureMap",),
    ),
    Fault(
        "backbone",
        "lies about its channels",
        "check",
        """
class Lies(Net):
    out_channels = 16

def build(params): return Lies()
""",
        ("(2, 16, h, w): 2 images, and its out_channels is 16",),
    ),
    Fault(
        "backbone",
        "lies about its stride",
        "check",
        """
class Lies(Net):
    stride = 8

def build(params): return Lies()
""",
        ("announces a stride of 8 and has 16 x 16",),
    ),
    Fault(
        "backbone",
        "has no out_channels",
        "check",
        "def build(params): return nn.Sequential(Net())",
        ("failed when it was asked for 'out_channels': AttributeError",),
    ),
    Fault(
        "backbone",
        "torch does not like its shapes",
        "check",
        """
class Wrong(Net):
    def map(self, images):
        return super().map(images) @ torch.ones(7, 3)  # raises

def build(params): return Wrong()
""",
        ("failed on images of shape (2, 3, 32, 16): RuntimeError",),
    ),
    Fault(
        "backbone",
        "returns float64",
        "check",
        """
class Double(Net):
    def map(self, images): return super().map(images).double()

def build(params): return Double()
""",
        ("returned as map a tensor of torch.float64", "expected floats of at most 32 bits"),
    ),
    Fault(
        "backbone",
        "returns other channels in evaluation",
        "check",
        """
class Halves(Net):
    def map(self, images):
        found = super().map(images)
        return found if self.training else found[:, :4]

def build(params): return Halves()
""",
        ("returned as map a tensor of torch.float32 and shape (2, 4, 2, 1)",),
    ),
    Fault(
        "backbone",
        "has tokens of another size",
        "check",
        """
class Tokens(Net):
    def forward(self, images, side):
        return FeatureMap(self.map(images), tokens=images.new_zeros(len(images), 3, 5))

def build(params): return Tokens()
""",
        ("returned as tokens a tensor", "expected None or floats of"),
    ),
    Fault(
        "backbone",
        "changes its images in place",
        "check",
        """
class Changes(Net):
    def map(self, images): return super().map(images.mul_(2))

def build(params): return Changes()
""",
        ("changed the images that it was given in place",),
    ),
    Fault(
        "backbone",
        "changes a column in place",
        "check",
        """
class Changes(Net):
    def forward(self, images, side):
        side["camid"].clamp_(min=0)
        return FeatureMap(self.map(images))

def build(params, *, side_values): return Changes()
""",
        ("changed the column 'camid' that it was given in place",),
        declares='side=("camid",)',
    ),
    Fault(
        "backbone",
        "declares no tuple of columns",
        "check",
        "def build(params): return Net()",
        ("declares side 'camid'; expected a tuple of names",),
        declares='side=lambda params: "camid"',
    ),
    Fault(
        "backbone",
        "is on another device",
        "start",
        """
class Elsewhere(Net):
    def map(self, images): return super().map(images).to("meta")

def build(params): return Elsewhere()
""",
        ("returned as map a tensor on meta; expected it on cpu, where its input is",),
    ),
    Fault(
        "backbone",
        "gives NaN",
        "start",
        """
class Broken(Net):
    def map(self, images): return super().map(images) / 0 * 0

def build(params): return Broken()
""",
        ("gives values that are NaN or infinite",),
    ),
    Fault(
        "backbone",
        "raises in the training alone",
        "first use",
        """
class Late(Net):
    def map(self, images):
        if self.training and images.device.type == "cpu":
            raise IndexError("no such block")  # raises
        return super().map(images)

def build(params): return Late()
""",
        ("failed on images of shape (6, 3, 32, 16): IndexError: no such block",),
    ),
    Fault(
        "backbone",
        "has a state that cannot be saved",
        "check",
        """
class Counts(Net):
    def get_extra_state(self): return {"calls": 3}
    def set_extra_state(self, state): pass

def build(params): return Counts()
""",
        ("keeps a dict as '_extra_state' in its state; expected tensors",),
    ),
    Fault(
        "backbone",
        "has a name that leads to another folder",
        "declared",
        "def build(params): return Net()",
        ("reid_backbone: name must be a word of letters", "got '../faulty'"),
        declares='name="../faulty"',
    ),
]

HEADS = [
    Fault(
        "head",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("was built as None; expected a torch.nn.Module",),
    ),
    Fault(
        "head",
        "returns a tensor",
        "check",
        """
class Bare(Pool):
    def forward(self, features): return self.vectors(features)

def build(params): return Bare()
""",
        ("returned a tensor of torch.float32 and shape (2, 8); expected a HeadOutput",),
    ),
    Fault(
        "head",
        "returns other branches in evaluation",
        "check",
        """
class Other(Pool):
    def forward(self, features):
        found = super().forward(features)
        return found if self.training else HeadOutput({"other": found.branches["pool"]})

def build(params): return Other()
""",
        ("returned the branches other; it has declared pool",),
    ),
    Fault(
        "head",
        "lies about the size of a branch",
        "check",
        """
class Lies(Pool):
    branches = (BranchSpec("pool", 16, "pool", frozenset({"id", "metric"})),)

def build(params): return Lies()
""",
        ("as feature of branch 'pool' a tensor", "it has declared 16 values"),
    ),
    Fault(
        "head",
        "has an extra value without a row for each image",
        "check",
        """
class Extra(Pool):
    def forward(self, features):
        return replace(super().forward(features), aux={"uc": features.map.mean()})

def build(params): return Extra()
""",
        ("returned as aux 'uc' a tensor", "expected a tensor with 2 rows"),
    ),
    Fault(
        "head",
        "has an extra value in training alone",
        "check",
        """
class Extra(Pool):
    def forward(self, features):
        aux = {"uc": features.map.mean(dim=(1, 2, 3))} if self.training else {}
        return replace(super().forward(features), aux=aux)

def build(params): return Extra()
""",
        ("gives in training the extra values uc, and in evaluation none",),
    ),
    Fault(
        "head",
        "has two branches of one name",
        "check",
        """
class Twice(Pool):
    branches = Pool.branches * 2

def build(params): return Twice()
""",
        ("has two branches named pool",),
    ),
    Fault(
        "head",
        "has a branch of an unknown role",
        "check",
        """
class Role(Pool):
    branches = (BranchSpec("pool", 8, "pool", frozenset({"metrics"})),)

def build(params): return Role()
""",
        ("has the branch 'pool', whose roles must be a set of", "did you mean 'metric'?"),
    ),
    Fault(
        "head",
        "has a list of branches",
        "check",
        """
class Listed(Pool):
    branches = list(Pool.branches)

def build(params): return Listed()
""",
        ("expected a tuple of BranchSpec",),
    ),
    Fault(
        "head",
        "has a classifier with a dot",
        "check",
        """
class Dotted(Pool):
    branches = (BranchSpec("pool", 8, "../pool", frozenset({"id", "metric"})),)

def build(params): return Dotted()
""",
        ("whose classifier must consist of letters (A-Z, a-z), digits and '_', got '../pool'",),
    ),
    Fault(
        "head",
        "looks for a map that is not there",
        "check",
        """
class Earlier(Pool):
    def vectors(self, features): return features.maps["layer3"].mean(dim=(2, 3))  # raises

def build(params): return Earlier()
""",
        ("failed on a map of shape (2, 8, 2, 1): KeyError: 'layer3'",),
    ),
    Fault(
        "head",
        "changes the map in place",
        "check",
        """
class Changes(Pool):
    def vectors(self, features): return features.map.relu_().mean(dim=(2, 3))

def build(params): return Changes()
""",
        ("changed the map that it was given in place",),
    ),
    Fault(
        "head",
        "has another branch from step to step",
        "first use",
        """
class Grows(Pool):
    def __init__(self): super().__init__(); self.calls = 0

    def forward(self, features):
        self.calls += features.map.device.type == "cpu"
        found = super().forward(features)
        if self.calls < 3: return found
        self.branches = (*Pool.branches, replace(Pool.branches[0], name="more"))
        return HeadOutput({**found.branches, "more": found.branches["pool"]})

def build(params): return Grows()
""",
        ("returned the branches more, pool; it has declared pool",),
    ),
]

LOSSES = [
    Fault(
        "loss",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("was built as None; expected a function of a LossInput",),
    ),
    Fault(
        "loss",
        "returns a tensor",
        "check",
        "def build(params): return lambda x: x.features.mean()",
        ("returned a tensor of shape () and torch.float32; expected a LossOutput",),
    ),
    Fault(
        "loss",
        "has a value for each image",
        "check",
        "def build(params): return lambda x: LossOutput(x.features.mean(dim=1))",
        ("returned a tensor of shape (8,)", "as value; expected a 0-d", "of branch 'global'"),
    ),
    Fault(
        "loss",
        "has a whole number",
        "check",
        "def build(params): return lambda x: LossOutput(x.pids.sum())",
        ("and torch.int64 as value; expected a 0-d floating-point tensor",),
    ),
    Fault(
        "loss",
        "is detached beside a good one",
        "check",
        "def build(params): return lambda x: LossOutput(x.features.mean().detach())",
        ("returned value without a gradient", "of branch 'global'"),
    ),
    Fault(
        "loss",
        "is NaN",
        "check",
        "def build(params): return lambda x: LossOutput((x.features - 9).log().mean())",
        ("returned the value nan", "expected a finite number"),
    ),
    Fault(
        "loss",
        "has a gradient that is NaN",
        "check",
        "def build(params): return lambda x: LossOutput((x.features * 0).square().sum().sqrt())",
        ("gives a gradient that is NaN or infinite",),
    ),
    Fault(
        "loss",
        "torch does not like its shapes",
        "check",
        """
def loss(x):
    return LossOutput((x.features @ torch.ones(3)).mean())  # raises

def build(params): return loss
""",
        ("on 8 random vectors of branch 'global': RuntimeError: size mismatch",),
    ),
    Fault(
        "loss",
        "reads what it has not declared",
        "check",
        """
def loss(x):
    return LossOutput((x.features.mean(1) * x.aux["uc"]).mean())  # raises

def build(params): return loss
""",
        ("NotDeclaredError: 'uc' is not declared; add reads=",),
    ),
    Fault(
        "loss",
        "keeps the graph of a step",
        "check",
        """
def build(params):
    kept = []
    def loss(x):
        kept.append(x.features.square().mean())
        return LossOutput(torch.stack(kept).mean())
    return loss
""",
        ("failed in its backward pass", "backward through the graph a second time"),
    ),
    Fault(
        "loss",
        "changes the labels in place",
        "check",
        """
def loss(x):
    x.pids.clamp_(max=1)
    return LossOutput(x.features.mean())

def build(params): return loss
""",
        ("changed the pids that it was given in place",),
    ),
    Fault(
        "loss",
        "changes the vectors in place",
        "check",
        "def build(params): return lambda x: LossOutput(x.features.mul_(2).mean())",
        ("changed the features that it was given in place",),
    ),
    Fault(
        "loss",
        "raises after the step",
        "check",
        """
class Centers(nn.Module):
    def forward(self, x): return LossOutput(x.features.mean())
    def after_step(self): self.centers += 1  # raises

def build(params): return Centers()
""",
        ("failed after a step on", "AttributeError: 'Centers' object has no attribute 'centers'"),
    ),
    Fault(
        "loss",
        "has a float as accuracy",
        "check",
        "def build(params): return lambda x: LossOutput(x.features.mean(), accuracy=0.5)",
        ("returned 0.5 as accuracy; expected a 0-d tensor or None",),
    ),
    Fault(
        "loss",
        "has a count as accuracy",
        "check",
        """
def build(params):
    return lambda x: LossOutput(x.features.mean(), accuracy=(x.pids >= 0).sum())
""",
        ("returned the accuracy 8; expected a number from 0 to 1",),
    ),
    Fault(
        "loss",
        "has monitors in a list",
        "check",
        "def build(params): return lambda x: LossOutput(x.features.mean(), [x.features.mean()])",
        ("returned a list as monitors; expected numbers by name",),
    ),
    Fault(
        "loss",
        "has a float as monitor",
        "check",
        "def build(params): return lambda x: LossOutput(x.features.mean(), {'hard': 0.5})",
        ("returned 0.5 as the monitor 'hard'; expected a 0-d tensor",),
    ),
    Fault(
        "loss",
        "has a monitor that is NaN",
        "check",
        """
def build(params):
    return lambda x: LossOutput(x.features.mean(), {"hard": x.features[:0].mean()})
""",
        ("returned the monitor 'hard' nan; expected a finite number",),
    ),
    Fault(
        "loss",
        "has a monitor named accuracy",
        "check",
        """
def build(params):
    return lambda x: LossOutput(x.features.mean(), {"accuracy": x.features.mean()}, torch.ones(()))
""",
        ("gives an accuracy and a monitor named 'accuracy'",),
    ),
    Fault(
        "loss",
        "has an unknown role",
        "declared",
        "def build(params): pass",
        ("loss 'faulty': role must be 'id' or 'metric', got 'metrics'; did you mean 'metric'?",),
        declares='role="metrics"',
    ),
    Fault(
        "loss",
        "has an unknown need",
        "declared",
        "def build(params): pass",
        ("loss 'faulty': needs must be a set of", "did you mean 'classifier'?"),
        declares='role="id", needs=frozenset({"clasifier"})',
    ),
    Fault(
        "loss",
        "declares no tuple of columns",
        "check",
        "def build(params): return lambda x: LossOutput(x.features.mean())",
        ("declares columns 'clothes'; expected a tuple of names",),
        declares='role="metric", columns=lambda params: "clothes"',
    ),
    Fault(
        "loss",
        "cannot say what it reads",
        "check",
        "def build(params): return lambda x: LossOutput(x.features.mean())",
        ("failed when it was asked for its reads: AttributeError",),
        declares='role="metric", reads=lambda params: params.names',
    ),
    Fault(
        "loss",
        "is NaN in the third step",
        "first use",
        """
def build(params):
    calls = []
    def loss(x):
        calls.extend([1] if len(x.pids) == 6 else [])
        return LossOutput(x.features.mean() * (math.nan if len(calls) == 3 else 1))
    return loss
""",
        ("at step 3 (epoch 1)", "faulty = nan", "'faulty' is that of"),
    ),
    Fault(
        "loss",
        "has an accuracy that is NaN in a late step",
        "first use",
        """
def build(params):
    def loss(x):
        late = x.progress.step >= 4
        return LossOutput(x.features.mean(), accuracy=torch.tensor(math.nan if late else 0.5))
    return loss
""",
        ("gave the term 'faulty' an accuracy of nan ", "expected a number from 0 to 1 at step 5"),
    ),
    Fault(
        "loss",
        "is on another device",
        "check",
        'def build(params): return lambda x: LossOutput(x.features.mean().to("meta"))',
        ("returned value on meta; expected it on cpu, where its input is",),
    ),
    Fault(
        "loss",
        "has a monitor that is NaN in a late step",
        "harmless",
        """
def build(params):
    def loss(x):
        late = len(x.pids) == 6 and x.progress.step == 1
        return LossOutput(x.features.sum() * 0, {"hard": torch.tensor(math.nan if late else 0.5)})
    return loss
""",
        ("gave the monitor 'faulty.hard' nan at step 2; it is left out",),
        changes={"loss": [{"name": "softmax"}, {"name": "triplet"}, {"name": "faulty"}]},
    ),
]

SAMPLERS = [
    Fault(
        "sampler",
        "build returns nothing",
        "start",
        "def build(params): pass",
        ("built a NoneType without __len__ and __iter__ and set_epoch; expected",),
    ),
    Fault(
        "sampler",
        "build asks for a keyword of another kind",
        "start",
        "def build(params, *, num_pids): pass",
        ("it asks for num_pids; its kind offers camids, columns",),
    ),
    Fault(
        "sampler",
        "has fewer batches than its length",
        "start",
        """
class Short(Order):
    def __len__(self): return 3

def build(params, *, labels): return Short(len(labels))
""",
        ("yields only 2 batches and announces 3 by its length in epoch 1",),
        changes={"train": {"epochs": 1, "device": "cpu"}},
    ),
    Fault(
        "sampler",
        "has more batches than its length",
        "start",
        """
class Long(Order):
    def __len__(self): return 1

def build(params, *, labels): return Long(len(labels))
""",
        ("yields more than 1 batches and announces 1 by its length in epoch 1",),
        changes={"train": {"epochs": 1, "device": "cpu"}},
    ),
    Fault(
        "sampler",
        "changes its length between epochs",
        "first use",
        """
class Grows(Order):
    def __len__(self): return 2 + self.epoch

def build(params, *, labels): return Grows(len(labels))
""",
        ("has 3 batches in epoch 2 and 2 before",),
        changes={"train": {"epochs": 2, "device": "cpu"}},
    ),
    Fault(
        "sampler",
        "yields integers of numpy",
        "start",
        """
class Numpy(Order):
    def __iter__(self):
        for _ in range(2): yield [(self.epoch, np.int64(index)) for index in range(6)]

def build(params, *, labels): return Numpy(len(labels))
""",
        ("expected a pair (epoch, index) of ints at batch 1 of epoch 1",),
    ),
    Fault(
        "sampler",
        "yields a generator",
        "start",
        """
class Lazy(Order):
    def __iter__(self): return (((key for key in keys)) for keys in super(Lazy, self).__iter__())

def build(params, *, labels): return Lazy(len(labels))
""",
        ("yields a generator; expected a list of pairs", "at batch 1 of epoch 1"),
    ),
    Fault(
        "sampler",
        "yields another epoch",
        "first use",
        """
class Stays(Order):
    def set_epoch(self, epoch): pass

def build(params, *, labels): return Stays(len(labels))
""",
        ("yields (0, ", "expected (epoch, index) of epoch 1", "at batch 1 of epoch 2"),
        changes={"train": {"epochs": 2, "device": "cpu"}},
    ),
    Fault(
        "sampler",
        "yields images that are not there",
        "start",
        """
class Beyond(Order):
    def __iter__(self):
        for _ in range(2): yield [(self.epoch, self.images + n) for n in range(6)]

def build(params, *, labels): return Beyond(len(labels))
""",
        ("and an index from 0 to", "at batch 1 of epoch 1"),
    ),
    Fault(
        "sampler",
        "yields nothing",
        "start",
        """
class Empty(Order):
    def __iter__(self): return iter([[], []])

def build(params, *, labels): return Empty(len(labels))
""",
        ("yields an empty list",),
    ),
    Fault(
        "sampler",
        "raises at its second batch",
        "start",
        """
class Raises(Order):
    def __iter__(self):
        yield next(super().__iter__())
        raise ValueError("no more people")  # raises

def build(params, *, labels): return Raises(len(labels))
""",
        ("failed at batch 2 of epoch 1: ValueError: no more people",),
    ),
    Fault(
        "sampler",
        "has no set_epoch",
        "start",
        """
def build(params, *, labels): return [[(0, index) for index in range(6)]]
""",
        ("built a list without set_epoch; expected a BatchSampler, which has",),
    ),
    Fault(
        "sampler",
        "has another order when it is asked again",
        "start",
        """
class Moody(Order):
    def __init__(self, images): super().__init__(images); self.rng = np.random.default_rng(0)

    def __iter__(self):
        for _ in range(2):
            yield [(self.epoch, int(index)) for index in self.rng.permutation(self.images)[:6]]

def build(params, *, labels): return Moody(len(labels))
""",
        ("gives another first batch when epoch 1 is begun again",),
    ),
    Fault(
        "sampler",
        "cannot say what it reads",
        "start",
        "def build(params, *, labels): return Order(len(labels))",
        ("declares columns [1]; expected a tuple of names",),
        declares="columns=lambda params: [1]",
    ),
]

TRAIN = {"epochs": 1, "device": "cpu", "log_every": 1}

EVALUATORS = [
    Fault(
        "evaluator",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("built a NoneType; expected an Evaluator",),
    ),
    Fault(
        "evaluator",
        "asks for a distance and names none",
        "check",
        "def build(params, *, distance): return scores",
        ("asks for a distance, and its component names none",),
    ),
    Fault(
        "evaluator",
        "reads an unknown split",
        "check",
        "def build(params): return scores",
        ("declares splits ('probe',); expected a tuple of names out of train, val",),
        declares='splits=("probe",)',
    ),
    Fault(
        "evaluator",
        "cannot say what it reads",
        "check",
        "def build(params): return scores",
        ("failed when it was asked for its outputs: AttributeError",),
        declares='splits=("query",), outputs=lambda params: params.output',
    ),
    Fault(
        "evaluator",
        "returns nothing",
        "start",
        "def build(params): return lambda splits: None",
        ("returned None (NoneType); expected Scores on target 'synthetic_market'",),
    ),
    Fault(
        "evaluator",
        "returns a dict",
        "start",
        'def build(params): return lambda splits: {"mAP": 0.5}',
        ("(dict); expected Scores",),
    ),
    Fault(
        "evaluator",
        "has a string as metric",
        "start",
        'def build(params): return lambda splits: scores(splits, metrics={"good": "0.5"})',
        ("metric 'good' '0.5' (str); expected a finite number",),
    ),
    Fault(
        "evaluator",
        "has a metric that is NaN",
        "start",
        'def build(params): return lambda splits: scores(splits, metrics={"good": math.nan})',
        ("metric 'good' nan (float); expected a finite number",),
    ),
    Fault(
        "evaluator",
        "has another row count per query",
        "start",
        'def build(params): return lambda splits: scores(splits, per_query={"ap": np.ones(3)})',
        ("per_query['ap'] of shape (3,); expected one row for each of",),
    ),
    Fault(
        "evaluator",
        "has an array of objects",
        "start",
        """
def build(params):
    return lambda splits: scores(splits, tables={"names": np.array([None, "a"], dtype=object)})
""",
        ("tables['names'] an array of object; expected an array of numbers or strings",),
    ),
    Fault(
        "evaluator",
        "has a protocol that is not JSON",
        "start",
        'def build(params): return lambda splits: scores(splits, protocol={"ks": {1, 5}})',
        ("protocol.ks {1, 5} (set); expected JSON values",),
    ),
    Fault(
        "evaluator",
        "has an unknown primary metric",
        "start",
        'def build(params): return lambda splits: scores(splits, primary="mAP")',
        ("primary 'mAP' (str); expected one of good",),
    ),
    Fault(
        "evaluator",
        "has an interval upside down",
        "start",
        'def build(params): return lambda splits: scores(splits, intervals={"good": (0.9, 0.1)})',
        ("low is above high",),
    ),
    Fault(
        "evaluator",
        "raises",
        "start",
        """
def evaluate(splits):
    return scores({"query": splits["probe"]})  # raises

def build(params): return evaluate
""",
        ("failed on target 'synthetic_market': KeyError: 'probe'",),
    ),
    Fault(
        "evaluator",
        "changes the features in place",
        "start",
        """
def evaluate(splits):
    splits["gallery"].values["embedding"][:] += 1
    return scores(splits)

def build(params): return evaluate
""",
        ("changed the gallery's 'embedding' that it was given in place",),
    ),
    Fault(
        "evaluator",
        "changes the cameras in place",
        "start",
        """
def evaluate(splits):
    splits["query"].camids[splits["query"].camids > 0] = 0
    return scores(splits)

def build(params): return evaluate
""",
        ("changed the query's camids that it was given in place",),
    ),
    Fault(
        "evaluator",
        "raises when images differ",
        "first use",
        """
def evaluate(splits):
    if np.ptp(splits["query"].values["embedding"], axis=0).any():
        raise ZeroDivisionError("no spread")  # raises
    return scores(splits)

def build(params): return evaluate
""",
        ("failed on target 'synthetic_market': ZeroDivisionError: no spread",),
    ),
    Fault(
        "evaluator",
        "has another primary metric later",
        "first use",
        """
def evaluate(splits):
    name = "late" if np.ptp(splits["query"].values["embedding"], axis=0).any() else "good"
    return scores(splits, metrics={name: 0.5}, primary=name)

def build(params): return evaluate
""",
        ("has the primary metric 'late', and 'good' before",),
    ),
    Fault(
        "evaluator",
        "exits where a run is evaluated",
        "evaluate",
        """
def evaluate(splits):
    raise SystemExit(0)  # raises

def build(params): return evaluate
""",
        ("failed on target 'synthetic_market': SystemExit: 0",),
    ),
    Fault(
        "evaluator",
        "returns no Scores where a run is evaluated",
        "evaluate",
        "def build(params): return lambda splits: 0.5",
        ("returned 0.5 (float); expected Scores",),
    ),
]

DISTANCES = [
    Fault(
        "distance",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("failed when it was asked for 'symmetric' and 'normalizes': AttributeError",),
    ),
    Fault(
        "distance",
        "is neither symmetric nor not",
        "check",
        """
class Perhaps(Near):
    symmetric = None

def build(params): return Perhaps()
""",
        ("has symmetric = None; expected True or False",),
    ),
    Fault(
        "distance",
        "fills nothing",
        "check",
        """
class Lazy(Near):
    def fill(self, query, gallery, out): return torch.cdist(query.features, gallery.features)

def build(params): return Lazy()
""",
        ("gave keys that are NaN, or left them unwritten",),
    ),
    Fault(
        "distance",
        "gives the keys another shape",
        "check",
        """
class Reshapes(Near):
    def fill(self, query, gallery, out): out.resize_(len(query) * len(gallery)).zero_()

def build(params): return Reshapes()
""",
        ("gave the keys the shape (", "expected ("),
    ),
    Fault(
        "distance",
        "prepares nothing",
        "check",
        """
class Nothing(Near):
    def prepare(self, vectors): vectors.norms

def build(params): return Nothing()
""",
        ("returned None; expected Vectors from 'prepare'",),
    ),
    Fault(
        "distance",
        "drops images",
        "check",
        """
class Drops(Near):
    def prepare(self, vectors): return vectors.rows(0, len(vectors) - 1)

def build(params): return Drops()
""",
        ("images of", "from 'prepare'"),
    ),
    Fault(
        "distance",
        "raises",
        "check",
        """
class Raises(Near):
    def fill(self, query, gallery, out):
        out.copy_(query.features @ gallery.features)  # raises

def build(params): return Raises()
""",
        ("failed in 'fill': RuntimeError",),
    ),
    Fault(
        "distance",
        "changes the features in place",
        "check",
        """
class Changes(Near):
    def prepare(self, vectors):
        vectors.features.div_(vectors.norms[:, None].clamp(min=1e-12))
        return vectors

def build(params): return Changes()
""",
        ("changed the features that it was given in place", "in 'prepare'"),
    ),
    Fault(
        "distance",
        "has distances of another shape",
        "check",
        """
class Means(Near):
    def values(self, keys): return keys.mean(dim=0)

def build(params): return Means()
""",
        ("expected the distances of keys of shape", "from 'values'"),
    ),
    Fault(
        "distance",
        "has distances that are NaN",
        "check",
        """
class Roots(Near):
    def values(self, keys): return (keys - 1e6).sqrt()

def build(params): return Roots()
""",
        ("returned distances that are NaN from 'values'",),
    ),
    Fault(
        "distance",
        "changes the keys in place",
        "check",
        """
class Changes(Near):
    def values(self, keys): return keys.sqrt_()

def build(params): return Changes()
""",
        ("changed the keys that it was given in place", "in 'values'"),
    ),
    Fault(
        "distance",
        "raises where a run is evaluated",
        "evaluate",
        """
class Raises(Near):
    def fill(self, query, gallery, out): raise RuntimeError("no such kernel")  # raises

def build(params): return Raises()
""",
        ("failed in 'fill': RuntimeError: no such kernel",),
    ),
    Fault(
        "distance",
        "declares no tuple of columns",
        "check",
        "def build(params): return Near()",
        ("declares aux 'uc'; expected a tuple of names",),
        declares='aux=lambda params: "uc"',
    ),
]

POSTPROCESSES = [
    Fault(
        "postprocess",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("failed: TypeError: 'NoneType' object is not callable",),
    ),
    Fault(
        "postprocess",
        "returns nothing",
        "check",
        "def build(params): return lambda comparison: None",
        ("returned None; expected a Comparison",),
    ),
    Fault(
        "postprocess",
        "drops queries",
        "check",
        """
def step(comparison):
    return replace(comparison, query=comparison.query.rows(0, 2))

def build(params): return step
""",
        ("returned query features of shape (2, ", "; expected ("),
    ),
    Fault(
        "postprocess",
        "gives another order to the gallery",
        "check",
        """
def step(comparison):
    order = np.arange(len(comparison.gallery))[::-1].copy()
    return replace(comparison, gallery=comparison.gallery.at(order))

def build(params): return step
""",
        ("returned other gallery images, or in another order",),
    ),
    Fault(
        "postprocess",
        "lies about its stage",
        "check",
        "def build(params): return lambda comparison: comparison.with_keys(Altered(comparison))",
        ("changed distances; its component has the stage 'features'",),
        declares='stage="features"',
    ),
    Fault(
        "postprocess",
        "has an unknown stage",
        "declared",
        "def build(params): pass",
        ("stage must be 'features' or 'distances', got 'keys'",),
        declares='stage="keys"',
    ),
    Fault(
        "postprocess",
        "gives features that are NaN",
        "check",
        """
def step(comparison):
    query, gallery = comparison.query, comparison.gallery
    return comparison.with_vectors(replace(query, features=query.features * math.nan), gallery)

def build(params): return step
""",
        ("returned query features that are NaN or infinite",),
        declares='stage="features"',
    ),
    Fault(
        "postprocess",
        "changes the features in place",
        "check",
        """
def step(comparison):
    comparison.query.features.mul_(2)
    return comparison

def build(params): return step
""",
        ("changed the query's features that it was given in place",),
        declares='stage="features"',
    ),
    Fault(
        "postprocess",
        "fills nothing",
        "check",
        """
class Lazy(Altered):
    def fill(self, start, stop, out): pass

def build(params): return lambda comparison: comparison.with_keys(Lazy(comparison))
""",
        ("gave keys that are NaN, or left them unwritten",),
    ),
    Fault(
        "postprocess",
        "fills with another shape",
        "check",
        """
class Wrong(Altered):
    def fill(self, start, stop, out):
        out.copy_(torch.zeros(3, 7))  # raises

def build(params): return lambda comparison: comparison.with_keys(Wrong(comparison))
""",
        ("failed when it gave keys: RuntimeError",),
    ),
    Fault(
        "postprocess",
        "takes the distance away",
        "check",
        "def build(params): return lambda comparison: replace(comparison, distance=None)",
        ("failed when it was asked for 'symmetric' and 'normalizes': AttributeError",),
    ),
    Fault(
        "postprocess",
        "raises on many images alone",
        "first use",
        """
def step(comparison):
    if np.char.isdigit(comparison.query.pids).all():
        raise AttributeError("late")  # raises
    return comparison

def build(params): return step
""",
        ("failed: AttributeError: late",),
    ),
]

DATASETS = [
    Fault(
        "dataset",
        "build returns nothing",
        "start",
        "def build(params): pass",
        ("returned a NoneType; expected a Listing",),
    ),
    Fault(
        "dataset",
        "returns a list",
        "start",
        "def build(params): return listing().records",
        ("returned a list; expected a Listing",),
    ),
    Fault(
        "dataset",
        "lists a generator",
        "start",
        "def build(params): return Listing(r for r in listing().records)",
        ("lists a generator; expected a list of ImageRecords",),
    ),
    Fault(
        "dataset",
        "lists dicts",
        "start",
        'def build(params): return listing({"name": "a.png"})',
        ("lists dict; expected ImageRecords alone",),
    ),
    Fault(
        "dataset",
        "has no images",
        "start",
        "def build(params): return Listing([])",
        ("the dataset has no images",),
    ),
    Fault(
        "dataset",
        "raises",
        "start",
        "def build(params): raise ValueError('two people in one file')  # raises",
        ("failed while it was built: ValueError: two people in one file",),
    ),
    Fault(
        "dataset",
        "has a root that is a string",
        "start",
        "def build(params): return listing(root='/tmp')",
        ("its root is '/tmp'; expected a Path or None",),
    ),
    Fault(
        "dataset",
        "lies about its root",
        "start",
        """
from pathlib import Path

def build(params):
    return listing(record(99, source=Path(__file__)), root=Path("/data"))
""",
        ("train/99.png: lies outside the data folder /data",),
    ),
    Fault(
        "dataset",
        "has a name that leads out of the root",
        "start",
        "def build(params): return listing(record(name='../../99.png'))",
        ("../../99.png: name leads out of the data folder",),
    ),
    Fault(
        "dataset",
        "has a name that is no string",
        "start",
        "def build(params): return listing(record(name=99))",
        ("99: name is 99; expected a string, not empty",),
    ),
    Fault(
        "dataset",
        "has whole numbers as pids",
        "start",
        "def build(params): return listing(record(99, pid=7))",
        ("train/99.png: pid is 7; expected a string or None",),
    ),
    Fault(
        "dataset",
        "has a column of two types",
        "start",
        """
def build(params):
    return listing(record(98, columns={"clothes": 1}), record(99, columns={"clothes": "red"}))
""",
        ("train/99.png: column 'clothes' is 'red', and that of 'train/98.png' is of type int",),
    ),
    Fault(
        "dataset",
        "has columns in a list",
        "start",
        'def build(params): return listing(record(99, columns=[("clothes", 1)]))',
        ("train/99.png: columns is a list; expected values by name",),
    ),
    Fault(
        "dataset",
        "has a word as junk",
        "start",
        'def build(params): return listing(record(99, junk="no"))',
        ("train/99.png: junk is 'no'; expected True or False",),
    ),
    Fault(
        "dataset",
        "has an unknown split",
        "start",
        'def build(params): return listing(record(99, "probe"))',
        ("probe/99.png: unknown split 'probe'",),
    ),
    Fault(
        "dataset",
        "has an image twice",
        "start",
        "def build(params): return listing(record(1))",
        ("train/1.png: twice in split 'train'",),
    ),
    Fault(
        "dataset",
        "has a string as source",
        "start",
        'def build(params): return listing(record(99, source="99.png"))',
        ("train/99.png: source is '99.png'; expected a Path or a function that returns bytes",),
    ),
    Fault(
        "dataset",
        "has a function that raises",
        "start",
        """
def read():
    return {}["picture"]  # raises

def build(params): return listing(record(99, source=read))
""",
        ("failed for image 'train/99.png': KeyError: 'picture'",),
    ),
    Fault(
        "dataset",
        "has a function that gives no bytes",
        "start",
        "def build(params): return listing(record(99, source=lambda: 'picture'))",
        ("train/99.png: its function gave a str; expected bytes",),
    ),
    Fault(
        "dataset",
        "has published numbers of another form",
        "start",
        'def build(params): return listing(published={"train": 12})',
        ("published['train'] is 12; expected (identities, images)",),
    ),
]

BLANK = {"name": "resize", "params": {"height": 32, "width": 16}}

AUGMENTATIONS = [
    Fault(
        "augmentation",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("TypeError: 'NoneType' object is not callable",),
    ),
    Fault(
        "augmentation",
        "returns nothing",
        "check",
        "def build(params): return lambda image, rng: None",
        ("returned a NoneType; expected a float32 tensor (3, H, W)",),
    ),
    Fault(
        "augmentation",
        "takes no generator",
        "check",
        "def build(params): return lambda image: image",
        ("TypeError: ", "takes 1 positional argument but 2 were given"),
    ),
    Fault(
        "augmentation",
        "changes the size",
        "check",
        "def build(params): return lambda image, rng: image[:, 1:, 1:]",
        (" changes their size", "31 x 15", "32 x 16"),
    ),
    Fault(
        "augmentation",
        "returns float64",
        "check",
        "def build(params): return lambda image, rng: image.double()",
        ("returned a float64 tensor (3, 32, 16); expected a float32 tensor (3, H, W)",),
    ),
    Fault(
        "augmentation",
        "gives NaN",
        "check",
        "def build(params): return lambda image, rng: image / 0 * 0",
        ("returned an image that is NaN or infinite",),
    ),
    Fault(
        "augmentation",
        "returns a grey picture",
        "check",
        'def build(params): return lambda image, rng: image.convert("L")',
        ("returned a PIL.Image of mode L and 32 x 16 pixels; expected an RGB PIL.Image",),
        declares='stage="pil"',
        changes={"augmentation": [BLANK, {"name": "faulty"}]},
    ),
    Fault(
        "augmentation",
        "returns a Sample",
        "check",
        "def build(params): return lambda image, rng: Sample(image)",
        ("returned a Sample; expected an image alone",),
    ),
    Fault(
        "augmentation",
        "raises",
        "check",
        """
def erase(image, rng):
    image[:, 0, 0] = torch.ones(5)  # raises
    return image

def build(params): return erase
""",
        ("RuntimeError: The expanded size of the tensor",),
    ),
    Fault(
        "augmentation",
        "draws from a generator of its own",
        "check",
        """
own = np.random.default_rng()

def build(params): return lambda image, rng: image * own.uniform(0.5, 2)
""",
        ("gives another image for the same image and the same generator",),
    ),
    Fault(
        "augmentation",
        "remembers what it has seen",
        "check",
        """
def build(params):
    seen = []
    def mean(image, rng):
        seen.append(image)
        return torch.stack(seen).mean(dim=0) + len(seen)
    return mean
""",
        ("gives another image for the same image and the same generator",),
    ),
    Fault(
        "augmentation",
        "draws in the evaluation",
        "check",
        "def build(params): return lambda image, rng: image * float(rng.uniform(0.5, 2))",
        ("gives another image for another generator", "preprocessing"),
        declares='stage="tensor", use="both"',
    ),
    Fault(
        "augmentation",
        "has an unknown stage",
        "declared",
        "def build(params): pass",
        ("stage must be 'pil' or 'tensor' or 'batch', got 'picture'",),
        declares='stage="picture"',
    ),
    Fault(
        "augmentation",
        "has an unknown use",
        "declared",
        "def build(params): pass",
        ("use must be 'train' or 'test' or 'both', got 'training'",),
        declares='stage="pil", use="training"',
    ),
    Fault(
        "augmentation",
        "cannot be sent to a loader process",
        "start",
        "def build(params): return lambda image, rng: image * 2",
        ("cannot be sent to loader processes", "pickle"),
    ),
    Fault(
        "augmentation",
        "raises on a real image",
        "first use",
        """
def sharpen(image, rng):
    if image.size == (16, 32):
        raise OverflowError("too small")  # raises
    return image

def build(params): return sharpen
""",
        ("failed on image '", ".jpg'", "OverflowError: too small"),
        declares='stage="pil"',
        changes={"augmentation": [{"name": "faulty"}, BLANK]},
    ),
    Fault(
        "augmentation",
        "gives a batch of another length",
        "check",
        "def build(params): return lambda images, rngs: images[:-1]",
        ("returned a float32 tensor (0, 3, 32, 16); expected a float32 tensor (1, 3, H, W)",),
        declares='stage="batch"',
    ),
]

SCHEDULES = [
    Fault(
        "schedule",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("failed at step 1: TypeError: 'NoneType' object is not callable",),
    ),
    Fault(
        "schedule",
        "is NaN",
        "check",
        "def build(params): return lambda progress, history: math.nan",
        ("gave the factor nan; expected a number, 0 or larger at step 1",),
    ),
    Fault(
        "schedule",
        "is negative",
        "check",
        "def build(params): return lambda progress, history: -1",
        ("gave the factor -1; expected a number, 0 or larger",),
    ),
    Fault(
        "schedule",
        "is a tensor",
        "check",
        "def build(params): return lambda progress, history: torch.ones(())",
        ("gave the factor tensor(1.)",),
    ),
    Fault(
        "schedule",
        "returns nothing",
        "check",
        "def build(params): return lambda progress, history: None",
        ("gave the factor None",),
    ),
    Fault(
        "schedule",
        "raises",
        "check",
        """
def rate(progress, history):
    return history[0][1]  # raises

def build(params): return rate
""",
        ("failed at step 1: IndexError",),
    ),
    Fault(
        "schedule",
        "counts its calls",
        "check",
        """
def build(params):
    calls = []
    def rate(progress, history):
        calls.append(progress)
        return 1 / len(calls)
    return rate
""",
        ("gave the factors 1.0 and 0.5 for the same progress and history",),
    ),
    Fault(
        "schedule",
        "does not say whether it reads scores",
        "declared",
        "def build(params): pass",
        ("reads_scores must be True or False, got 'yes'",),
        declares='reads_scores="yes"',
    ),
    Fault(
        "schedule",
        "is negative in a late step",
        "first use",
        "def build(params): return lambda progress, history: -1 if progress.step == 1 else 1",
        ("gave the factor -1; expected a number, 0 or larger at step 2",),
    ),
    Fault(
        "schedule",
        "writes into the history",
        "harmless",
        """
def rate(progress, history):
    history.append((7, 0.5))
    return 1.0

def build(params): return rate
""",
        (),
    ),
]

OBJECTIVES = [
    Fault(
        "objective",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("was built as None; expected a function of a Step",),
    ),
    Fault(
        "objective",
        "needs something unknown",
        "check",
        "def build(params): return lambda step: {}",
        ("declares needs ('clasifier',); expected a tuple of names out of classifier",),
        declares='needs=("clasifier",)',
    ),
    Fault(
        "objective",
        "leaves something untrained that it has not",
        "check",
        """
class Teacher(nn.Module):
    untrained = ("teacher",)
    def forward(self, step): return {}

def build(params): return Teacher()
""",
        ("declares 'teacher' as untrained; expected the name of one of its sub-modules",),
    ),
    Fault(
        "objective",
        "leaves a number of things untrained",
        "check",
        """
class Teacher(nn.Module):
    untrained = 1
    def forward(self, step): return {}

def build(params): return Teacher()
""",
        ("declares untrained = 1; expected a tuple of names",),
    ),
    Fault(
        "objective",
        "returns a tensor",
        "first use",
        "def build(params): return lambda step: step.outputs.feature.mean()",
        ("returned a tensor of shape () and torch.float32; expected terms by name at step 1",),
    ),
    Fault(
        "objective",
        "returns a LossOutput",
        "first use",
        "def build(params): return lambda step: {'x': LossOutput(step.outputs.feature.mean())}",
        ("returned 'x': a LossOutput; expected a Term by its name at step 1",),
    ),
    Fault(
        "objective",
        "yields its terms",
        "first use",
        """
def build(params):
    def terms(step): yield "x", Term(step.outputs.feature.mean())
    return terms
""",
        ("returned a generator; expected terms by name at step 1",),
    ),
    Fault(
        "objective",
        "has the term of another objective",
        "first use",
        "def build(params): return lambda step: {'softmax': Term(step.outputs.feature.mean())}",
        ("gives a term named softmax, and so does objective 'supervised' of reid-core",),
    ),
    Fault(
        "objective",
        "has a weight that is NaN",
        "first use",
        """
def build(params):
    return lambda step: {"x": Term(step.outputs.feature.mean(), math.nan)}
""",
        ("gave the term 'x' the weight nan; expected a finite number at step 1",),
    ),
    Fault(
        "objective",
        "is detached beside a good one",
        "first use",
        "def build(params): return lambda step: {'x': Term(step.outputs.feature.mean().detach())}",
        ("returned the value of the term 'x' without a gradient",),
    ),
    Fault(
        "objective",
        "is infinite in the third step",
        "first use",
        """
def terms(step):
    value = step.outputs.feature.mean()
    return {"x": Term(value / 0 if step.progress.step == 2 else value)}

def build(params): return terms
""",
        ("at step 3 (epoch 1)", "'x' is that of"),
    ),
    Fault(
        "objective",
        "raises",
        "first use",
        """
def terms(step):
    return step.batch.labels  # raises

def build(params): return terms
""",
        ("failed at step 1: AttributeError: 'Batch' object has no attribute 'labels'",),
    ),
    Fault(
        "objective",
        "has an accuracy above 1",
        "first use",
        """
def build(params):
    return lambda step: {"x": Term(step.outputs.feature.mean(), accuracy=torch.tensor(50.0))}
""",
        ("gave the term 'x' an accuracy of 50 ", "expected a number from 0 to 1 at step 1"),
    ),
    Fault(
        "objective",
        "has a monitor named accuracy",
        "first use",
        """
def terms(step):
    value = step.outputs.feature.mean()
    return {"x": Term(value, 1.0, {"accuracy": value}, torch.ones(()))}

def build(params): return terms
""",
        ("gives an accuracy and a monitor named 'accuracy' for the term 'x'",),
    ),
    Fault(
        "objective",
        "changes the batch in place",
        "first use",
        """
def terms(step):
    step.batch.pids.zero_()
    return {"x": Term(step.outputs.feature.mean())}

def build(params): return terms
""",
        ("changed the pids that it was given in place; expected a new tensor at step 1",),
    ),
    Fault(
        "objective",
        "keeps the graph of a step",
        "first use",
        """
def build(params):
    kept = []
    def terms(step):
        kept.append(step.outputs.feature.square().mean())
        return {"x": Term(torch.stack(kept).mean())}
    return terms
""",
        ("the backward pass failed at step 2", "backward through the graph a second time"),
    ),
]

CALLBACKS = [
    Fault(
        "callback",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("was built as None, which defines none of after_epoch, after_evaluation, before_epoch",),
    ),
    Fault(
        "callback",
        "defines what is never called",
        "check",
        """
class Misspelt(Callback):
    def after_epochs(self, context): pass

def build(params): return Misspelt()
""",
        ("defines 'after_epochs', which is never called; did you mean 'after_epoch'?",),
    ),
    Fault(
        "callback",
        "loses its state",
        "check",
        """
class Loses(Callback):
    def after_epoch(self, context): pass
    def state_dict(self): return {}

def build(params): return Loses()
""",
        ("defines one of 'state_dict' and 'load_state_dict'; it needs both",),
    ),
    Fault(
        "callback",
        "has a state that cannot be saved",
        "check",
        """
class Keeps(Callback):
    def after_epoch(self, context): pass
    def state_dict(self): return {"best": [np.float64(0.5)]}
    def load_state_dict(self, state): pass

def build(params): return Keeps()
""",
        ("keeps a float64 in state_dict()['best'][0]",),
    ),
    Fault(
        "callback",
        "has a state that cannot be saved later",
        "first use",
        """
class Keeps(Callback):
    state = {}
    def after_epoch(self, context): self.state = {"when": context.progress}
    def state_dict(self): return self.state
    def load_state_dict(self, state): pass

def build(params): return Keeps()
""",
        ("keeps a Progress in state_dict()['when']",),
    ),
    Fault(
        "callback",
        "raises",
        "first use",
        """
class Raises(Callback):
    def before_epoch(self, context):
        context.teacher()  # raises

def build(params): return Raises()
""",
        ("failed before an epoch: AttributeError", "has no attribute 'teacher'"),
    ),
    Fault(
        "callback",
        "exits",
        "first use",
        """
class Exits(Callback):
    def after_epoch(self, context): raise SystemExit  # raises

def build(params): return Exits()
""",
        ("failed after epoch: SystemExit",),
    ),
    Fault(
        "callback",
        "returns a number",
        "first use",
        """
class Ends(Callback):
    def after_evaluation(self, context, results): return 1

def build(params): return Ends()
""",
        ("returned 1 from after_evaluation; expected True, False or None",),
    ),
    Fault(
        "callback",
        "relabels with too few labels",
        "first use",
        """
class Relabels(Callback):
    def before_epoch(self, context): context.relabel(np.arange(3))

def build(params): return Relabels()
""",
        ("relabel: expected", "whole numbers, one for each training image"),
    ),
    Fault(
        "callback",
        "logs NaN",
        "first use",
        """
class Logs(Callback):
    def after_epoch(self, context): context.log({"mean": math.nan})

def build(params): return Logs()
""",
        ("log: expected finite numbers by name, got 'mean': nan",),
    ),
    Fault(
        "callback",
        "changes the scores",
        "harmless",
        """
class Boasts(Callback):
    def after_evaluation(self, context, results):
        for scores in results.values(): scores.metrics["mAP"] = 7.0

def build(params): return Boasts()
""",
        (),
    ),
]

GOES_ON = "the training goes on without this logger"

LOGGERS = [
    Fault(
        "logger",
        "build returns nothing",
        "first use",
        "def build(params): pass",
        ("was built as None, which has no 'write(record)'",),
    ),
    Fault(
        "logger",
        "build raises",
        "first use",
        """
def build(params, *, directory):
    return (directory / "nowhere" / "lines").open("w")  # raises
""",
        ("failed while it was built: FileNotFoundError",),
    ),
    Fault(
        "logger",
        "build asks for a keyword of another kind",
        "first use",
        "def build(params, *, name): return Logger()",
        ("it asks for name; its kind offers directory, step",),
    ),
    Fault(
        "logger",
        "raises",
        "harmless",
        """
class Raises(Logger):
    def write(self, record):
        raise ConnectionError("no server")  # raises

def build(params): return Raises()
""",
        ("failed at a line of metrics.jsonl: ConnectionError: no server", GOES_ON),
    ),
    Fault(
        "logger",
        "exits when it is flushed",
        "harmless",
        """
class Exits(Logger):
    def write(self, record): record.clear()
    def flush(self): raise SystemExit(3)  # raises

def build(params): return Exits()
""",
        ("failed when it was flushed: SystemExit: 3", GOES_ON),
    ),
    Fault(
        "logger",
        "has no write of its own",
        "harmless",
        "def build(params): return Logger()",
        ("failed at a line of metrics.jsonl: NotImplementedError", GOES_ON),
    ),
]

COMMANDS = [
    Fault(
        "command",
        "build returns nothing",
        "command",
        "def build(params): pass",
        ("failed when it was asked for its arguments: AttributeError",),
    ),
    Fault(
        "command",
        "exits over its arguments",
        "command",
        """
class Exits:
    def add_arguments(self, parser): raise SystemExit(0)  # raises

def build(params): return Exits()
""",
        ("failed when it was asked for its arguments: SystemExit: 0",),
    ),
    Fault(
        "command",
        "has no run",
        "command",
        """
class Idle:
    def add_arguments(self, parser): pass

def build(params): return Idle()
""",
        ("failed: AttributeError: 'Idle' object has no attribute 'run'",),
    ),
    Fault(
        "command",
        "raises",
        "command",
        """
class Raises:
    def add_arguments(self, parser): pass
    def run(self, args): return args.path  # raises

def build(params): return Raises()
""",
        ("failed: AttributeError: 'Namespace' object has no attribute 'path'",),
    ),
    Fault(
        "command",
        "returns a string",
        "command",
        """
class Says:
    def add_arguments(self, parser): pass
    def run(self, args): return "done"

def build(params): return Says()
""",
        ("returned 'done'; expected the exit status, a whole number or None",),
    ),
    Fault(
        "command",
        "exits as if all were well",
        "command",
        """
class Exits:
    def add_arguments(self, parser): pass
    def run(self, args): raise SystemExit(0)  # raises

def build(params): return Exits()
""",
        ("failed: SystemExit: 0",),
    ),
]

READS = """
class Reads:
    def recognises(self, raw, kind): return "ours" in raw
    def translate(self, raw, kind, source): return Translation(dict(raw["ours"]))

"""
OURS = {"ours": {}}

TRANSLATORS = [
    Fault(
        "translator",
        "build returns nothing",
        "check",
        "def build(params): pass",
        ("failed when it was asked about the file: AttributeError",),
        changes=OURS,
    ),
    Fault(
        "translator",
        "raises over a file",
        "check",
        f"""{READS}
class Raises(Reads):
    def recognises(self, raw, kind): return raw["ours"]["version"] > 2  # raises

def build(params): return Raises()
""",
        ("KeyError: 'version'",),
        changes=OURS,
    ),
    Fault(
        "translator",
        "exits over a file",
        "check",
        f"""{READS}
class Exits(Reads):
    def recognises(self, raw, kind): raise SystemExit(0)  # raises

def build(params): return Exits()
""",
        ("SystemExit: 0",),
        changes=OURS,
    ),
    Fault(
        "translator",
        "says nothing to a file",
        "check",
        f"""{READS}
class Silent(Reads):
    def recognises(self, raw, kind): pass

def build(params): return Silent()
""",
        ("returned None from 'recognises'; expected True or False",),
        changes=OURS,
    ),
    Fault(
        "translator",
        "returns a dict",
        "check",
        f"""{READS}
class Bare(Reads):
    def translate(self, raw, kind, source): return dict(raw["ours"])

def build(params): return Bare()
""",
        ("returned a dict; expected a Translation",),
        changes=OURS,
    ),
    Fault(
        "translator",
        "translates to what is not JSON",
        "check",
        f"""{READS}
class Sets(Reads):
    def translate(self, raw, kind, source): return Translation({{"loss": {{1, 2}}}})

def build(params): return Sets()
""",
        ("returned params that are not JSON: loss is a set",),
        changes=OURS,
    ),
    Fault(
        "translator",
        "has one note as a string",
        "check",
        f"""{READS}
class Notes(Reads):
    def translate(self, raw, kind, source): return Translation(dict(raw["ours"]), "all is well")

def build(params): return Notes()
""",
        ("returned notes 'all is well'; expected a tuple of strings",),
        changes=OURS,
    ),
    Fault(
        "translator",
        "raises over a translation",
        "check",
        f"""{READS}
class Raises(Reads):
    def translate(self, raw, kind, source): return Translation(raw["ours"]["run"])  # raises

def build(params): return Raises()
""",
        ("failed on the run params: KeyError: 'run'",),
        changes=OURS,
    ),
    Fault(
        "translator",
        "changes what it reads",
        "harmless",
        f"""{READS}
class Changes(Reads):
    def recognises(self, raw, kind):
        raw["train"]["epochs"] = 0
        return "ours" in raw

def build(params): return Changes()
""",
        (),
    ),
]

FAULTS = [
    *(BACKBONES + HEADS + LOSSES + SAMPLERS + EVALUATORS + DISTANCES + POSTPROCESSES + DATASETS),
    *(AUGMENTATIONS + SCHEDULES + OBJECTIVES + CALLBACKS + LOGGERS + COMMANDS + TRANSLATORS),
]


# ---- what every case needs --------------------------------------------------------------

TINY_MODULE = """
from reid_core import BackboneComponent, hookimpl


def build(params):
    from torch import nn

    from reid_core.contracts import FeatureMap

    class Tiny(nn.Module):
        out_channels, stride = 8, 16

        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 8, 16, stride=16), nn.BatchNorm2d(8)

        def forward(self, images, side):
            return FeatureMap(self.bn(self.conv(images)))

    return Tiny()


@hookimpl
def reid_backbone():
    return [BackboneComponent(name="faultless", build=build, summary="-")]
"""


@pytest.fixture
def small_parts(install_plugin):
    """The backbone ``faultless``, one convolution, from a distribution of its own."""
    install_plugin("reid-faultless", {"reid_faultless": TINY_MODULE})


@pytest.fixture
def no_pictures(monkeypatch):
    """Runs that end leave no pictures: they take longer than the runs."""
    monkeypatch.setattr("reid_plugins.command._pictures.draw_run", lambda run: None)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Where the drawn people are packed, once for all cases."""
    return tmp_path_factory.mktemp("stores") / "people"


@pytest.fixture
def usual(tiny_params, stores):
    """Params of a training of a moment without a fault."""
    params = {**tiny_params, "backbone": {"name": "faultless"}, "logger": [], "train": TRAIN}
    params["data"]["train"][0]["store"] = str(stores)
    return params


@pytest.fixture
def written(tmp_path):
    """A function: the path of a params file."""

    def write(params):
        path = tmp_path / "params.json"
        path.write_text(json.dumps(params))
        return str(path)

    return write


@pytest.fixture
def installed(install_plugin):
    """A function that installs the component of a fault."""
    return lambda fault: install_plugin(DISTRIBUTION, {MODULE: fault.module}, version=VERSION)


def numbers_of(directory):
    """Return what was reached in every step and evaluation of a run."""
    lines = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [(line["kind"], line["step"], line.get("total"), line.get("metrics")) for line in lines]


def named(faults):
    return pytest.mark.parametrize("fault", faults, ids=[fault.name for fault in faults])


def found(*moments):
    return named([fault for fault in FAULTS if fault.when in moments])


def refused(fault, capsys, *command):
    """Run a command that must fail with the one message of a fault."""
    capsys.readouterr()
    assert main(command) == 2
    message = only_error(capsys.readouterr().err)
    for part in fault.expected():
        assert part in message
    return message


# ---- the cases --------------------------------------------------------------------------


@found("declared")
def test_a_component_that_declares_nonsense_is_left_out_and_named(
    fault, installed, usual, written, capsys
):
    installed(fault)
    path = written(fault.params(usual))
    capsys.readouterr()
    assert main(["check", path]) == 2
    assert f"failed to load: {DISTRIBUTION} {VERSION}" in only_error(capsys.readouterr().err)
    assert main(["plugins", "--errors"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    for part in fault.expected():
        assert part in line


@found("check")
def test_a_fault_that_shapes_or_trials_show_is_found_by_the_check(
    fault, installed, usual, written, capsys
):
    installed(fault)
    path = written(fault.params(usual))
    refused(fault, capsys, "check", path, "--model")


@named(list({f.kind: f for f in FAULTS if f.when == "check"}.values()))
def test_a_training_begins_with_the_same_checks(fault, installed, usual, written, capsys, tmp_path):
    installed(fault)
    path = written(fault.params(usual))
    started = refused(fault, capsys, "train", "--config_path", path, "--sub_working_dir", "run")
    assert refused(fault, capsys, "check", path, "--model") == started
    assert not (tmp_path / "runs" / "run").exists()


@found("start")
def test_a_fault_that_data_show_is_found_before_the_first_step_and_leaves_no_run(
    fault, installed, usual, written, capsys, tmp_path
):
    installed(fault)
    params = fault.params(usual)
    if "loader process" in fault.what:
        params["data"] = {**usual["data"], "workers": 1}
    path = written(params)
    assert main(["check", path, "--model"]) == 0, capsys.readouterr().err
    refused(fault, capsys, "train", "--config_path", path, "--sub_working_dir", "run")
    assert not (tmp_path / "runs" / "run").exists()


@found("first use")
def test_a_fault_of_the_first_use_says_where_it_was_and_leaves_a_run(
    fault, installed, usual, written, capsys, tmp_path
):
    installed(fault)
    path = written(fault.params({**usual, "train": {**TRAIN, "steps_per_epoch": 12}}))
    assert main(["check", path, "--model"]) == 0, capsys.readouterr().err
    refused(fault, capsys, "train", "--config_path", path, "--sub_working_dir", "run")
    assert (tmp_path / "runs" / "run" / "params.json").is_file()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Where a run without a fault is left, which cases share."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def reference(finished, usual, written):
    """The directory of a finished run without a fault."""
    if not (finished / "run").exists():
        path = written({**usual, "working_dir": str(finished)})
        assert main(["train", "--config_path", path, "--sub_working_dir", "run"]) == 0
    return finished / "run"


@found("evaluate")
def test_a_fault_is_found_when_a_finished_run_is_evaluated(
    fault, installed, usual, reference, tmp_path, capsys
):
    installed(fault)
    path = tmp_path / "eval_params.json"
    evaluation = fault.params(usual)["evaluation"]
    path.write_text(json.dumps({"run": str(reference), "evaluation": evaluation}))
    refused(fault, capsys, "evaluate", str(path))


@found("command")
def test_a_command_with_a_fault_is_named_and_stands_in_no_other_way(fault, installed, capsys):
    installed(fault)
    refused(fault, capsys, "faulty")
    assert main(["plugins"]) == 0


@found("harmless")
def test_a_fault_that_can_do_no_harm_changes_nothing(
    fault, installed, usual, written, reference, tmp_path, capsys
):
    installed(fault)
    path = written(fault.params(usual))
    capsys.readouterr()
    assert main(["train", "--config_path", path, "--sub_working_dir", "run"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "7.0000" not in output.out
    for part in fault.expected() if fault.says else ():
        assert part in output.out
    assert numbers_of(tmp_path / "runs" / "run") == numbers_of(reference)


def test_a_run_that_a_fault_has_stopped_goes_on_when_the_plugin_is_corrected(
    installed, usual, written, reference, tmp_path, capsys
):
    fault = next(f for f in CALLBACKS if f.what == "exits")
    info = installed(fault)
    path = written(fault.params(usual))
    refused(fault, capsys, "train", "--config_path", path, "--sub_working_dir", "run")
    resume = ("train", "--operation", "resume_train", "--sub_working_dir")
    run = tmp_path / "runs" / "run"
    refused(fault, capsys, *resume, str(run))
    module = info.parent / f"{MODULE}.py"
    module.write_text(module.read_text().replace("raise SystemExit  # raises", "return None"))
    del sys.modules[MODULE]
    importlib.invalidate_caches()
    assert main([*resume, str(run)]) == 0
    assert numbers_of(run) == numbers_of(reference)


def test_every_kind_has_its_faults():
    """54 is three of each of 15 kinds, and nine more."""
    count = Counter(fault.kind for fault in FAULTS)
    assert set(count) == set(KINDS)
    assert min(count.values()) >= 3
    assert len(FAULTS) >= 54
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert {fault.when for fault in FAULTS} == set(FOUND)
