"""The options of `glowkit train`, under the headings of its --help.

Their defaults are said here and made in `plan.defaults_of` and `TrainConfig`, whose import takes
seconds; tests/cli/test_terminal.py holds them together.
"""

import typer

from glowkit.cli import completion
from glowkit.cli.common import MACHINE, MODEL, OUTPUT

DATA_, BUDGET, OPTIMIZER_ = "Data", "Budget and evaluations", "Optimiser"

SOURCE = typer.Argument(
    metavar="DATA",
    help="digits, points:NAME, fashion-mnist[:FOLDER], emoji[:FONT], a folder of images,"
    " .npz or .npy, hf:NAME, or a table: .csv, .parquet, .npy, table:NAME.",
    autocompletion=completion.data,
)
PRESET = typer.Option(
    help="Model to train, see `glowkit presets`.",
    rich_help_panel=MODEL,
    show_default="glow-tiny; points spline-points, tables nsf-points",
    autocompletion=completion.presets,
)
OWN_CLASS = typer.Option(
    "--model",
    metavar="FILE.py[:CONFIG]",
    help="Model of your own to train, whose settings are the class CONFIG in a Python file;"
    " the file's code is run.",
    rich_help_panel=MODEL,
)
CONFIG = typer.Option(
    help="Settings to start from: the config.yaml of a run.", rich_help_panel=MODEL
)
SET = typer.Option(
    "--set",
    metavar="NAME=VALUE",
    help="Change a setting of the model.",
    rich_help_panel=MODEL,
)
PRECISION = typer.Option(
    help="Of conditioners in training: float32 or bfloat16.",
    rich_help_panel=MODEL,
    show_default="the model's own",
    autocompletion=completion.words("float32", "bfloat16"),
)
CONDITIONAL = typer.Option(
    "--conditional",
    help="Condition every part on the data's class labels.",
    rich_help_panel=MODEL,
)
EPOCHS = typer.Option(help="Budget in passes over the data.", rich_help_panel=BUDGET)
MINUTES = typer.Option(
    help="Budget in minutes.",
    rich_help_panel=BUDGET,
    show_default="10; points and tables 2",
)
SIZE = typer.Option(help="Resize and crop image files to this.", rich_help_panel=DATA_)
CHANNELS = typer.Option(help="1, 3 or 4 channels.", rich_help_panel=DATA_)
SKIP_BAD = typer.Option("--skip-bad", help="Skip damaged images.", rich_help_panel=DATA_)
TARGET = typer.Option(
    metavar="COLUMN[,COLUMN]",
    help="Of a table: model these columns given all others.",
    rich_help_panel=DATA_,
)
CONTEXT = typer.Option(
    metavar="COLUMN[,COLUMN]",
    help="Of a table: model all other columns given these.",
    rich_help_panel=DATA_,
)
BATCH_SIZE = typer.Option(
    help="Images a step.",
    rich_help_panel=OPTIMIZER_,
    show_default="64; points 512, tables 256",
)
LEARNING_RATE = typer.Option(
    help="Its peak.",
    rich_help_panel=OPTIMIZER_,
    show_default="0.001; points 0.005, tables 0.002",
)
OPTIMIZER = typer.Option(
    help="adamw, adamax or muon.",
    rich_help_panel=OPTIMIZER_,
    show_default="adamw",
    autocompletion=completion.words("adamw", "adamax", "muon"),
)
WARMUP_STEPS = typer.Option(
    help="Steps to the peak.", rich_help_panel=OPTIMIZER_, show_default="200"
)
WEIGHT_DECAY = typer.Option(
    help="Of the optimiser.", rich_help_panel=OPTIMIZER_, show_default="0; tables 0.1"
)
BETA2 = typer.Option(
    help="Decay of its mean of squared gradients.",
    rich_help_panel=OPTIMIZER_,
    show_default="0.999",
)
CLIP_NORM = typer.Option(
    help="Largest gradient norm.", rich_help_panel=OPTIMIZER_, show_default="50; tables 5"
)
EMA_DECAY = typer.Option(
    help="Of the averaged weights.", rich_help_panel=OPTIMIZER_, show_default="0.999"
)
EVALUATE_EVERY = typer.Option(
    help="Minutes between evaluations; by default a 20th of --minutes, or an epoch.",
    rich_help_panel=BUDGET,
)
WHOLE_EVALUATIONS = typer.Option(
    "--whole-evaluations",
    help="Evaluate whole splits, however short --minutes is; by default as much of them as"
    " a fifth of it has time for.",
    rich_help_panel=BUDGET,
)
PERTURB = typer.Option(
    metavar="PROBABILITY",
    help="Replace values of images by uniform ones: a background for `glowkit anomalies`.",
    rich_help_panel=DATA_,
    show_default="0",
)
NOISE = typer.Option(
    metavar="DEVIATIONS",
    help="Of a table: noise of so many standard deviations on training rows, so that"
    " a small one is not learned by heart; try 0.2.",
    rich_help_panel=DATA_,
    show_default="0",
)
OUT = typer.Option(
    metavar="RUN",
    help="Folder of the run.",
    rich_help_panel=OUTPUT,
    show_default="runs/DATA-PRESET",
)
RESUME = typer.Option("--resume", help="Go on with the run in --out.", rich_help_panel=OUTPUT)
DEVICES = typer.Option(
    help="Number of devices; torchrun says it by itself.",
    rich_help_panel=MACHINE,
    show_default="1",
)
NODES = typer.Option(
    min=1,
    help="Number of hosts; torchrun says it by itself.",
    rich_help_panel=MACHINE,
    show_default="1",
)
