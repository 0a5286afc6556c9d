"""The table of families: a row for each, as the page and the measurements have it."""

# ruff: noqa: RUF001  (formulas as papers print them)
from dataclasses import dataclass, field
from typing import Any

STEPPED: dict[str, Any] = {"family": "points", "coupling": "affine"}


@dataclass(frozen=True)
class Subject:
    """A family.

    sentence: in the two nouns. formula: of one layer. density, sampling: what log p and a sample
    cost. paper: where it is from. preset: to begin with. points: settings for points in the plane,
    of which `sized`, where there is one, is fitted so that models have equally many parameters.
    digits: a preset for the digits, of about as many parameters as the others there.
    cifar10: published test bits/dim.
    """

    name: str
    sentence: str
    formula: str
    density: str
    sampling: str
    paper: str
    preset: str
    points: dict[str, Any] = field(default_factory=dict)
    sized: str = "width"
    digits: str = ""
    cifar10: str = ""


PASS = "1 pass"

SUBJECTS = [
    Subject(
        "NICE",
        "Then(additive couplings, StandardLogistic)",
        "y₂ = x₂ + m(x₁)",
        PASS,
        PASS,
        "Dinh et al. 2014",
        "nice-tiny, nice-points",
        {
            **STEPPED,
            "steps": 16,
            "coupling": "additive",
            "permutation": "reverse",
            "normalization": "diagonal",
            "prior": "logistic",
        },
        digits="nice-tiny",
    ),
    Subject(
        "RealNVP",
        "Then(affine couplings with batch norm, Split(prior, Then(...)))",
        "y₂ = x₂ · exp(s(x₁)) + t(x₁)",
        PASS,
        PASS,
        "Dinh et al. 2016",
        "realnvp-tiny, realnvp-points",
        {
            **STEPPED,
            "steps": 16,
            "coupling": "bounded-affine",
            "permutation": "reverse",
            "normalization": "batch-norm",
        },
        digits="realnvp-tiny",
        cifar10="3.49",
    ),
    Subject(
        "Glow",
        "Then(steps of actnorm, 1x1 convolution and coupling, Split(prior, Then(...)))",
        "y = W x between couplings, W invertible",
        PASS,
        PASS,
        "Kingma and Dhariwal 2018",
        "glow-tiny, glow-points",
        {**STEPPED, "steps": 16},
        digits="glow-tiny",
        cifar10="3.35",
    ),
    Subject(
        "Flow++",
        "Dequantize(learned noise, Then(mixture couplings, StandardNormal))",
        "y₂ = logit(Σₖ πₖ σ((x₂ − μₖ) / sₖ)) · exp(a) + b, all of x₁",
        PASS,
        "1 pass, and a search in each coupling",
        "Ho et al. 2019",
        "flowpp-tiny, mixture-points",
        {"family": "points", "coupling": "mixture"},
        digits="flowpp-tiny",
        cifar10="3.08",
    ),
    Subject(
        "Neural spline flow, coupling",
        "Then(couplings with rational-quadratic splines, StandardNormal)",
        "y₂ᵢ = a monotonic spline of x₂ᵢ, its knots of x₁",
        PASS,
        PASS,
        "Durkan et al. 2019",
        "spline-points",
        {"family": "points"},
        cifar10="3.38",
    ),
    Subject(
        "MAF",
        "Then(autoregressive affine layers, StandardNormal)",
        "yᵢ = xᵢ · exp(s(x₁..ᵢ₋₁)) + t(x₁..ᵢ₋₁)",
        PASS,
        "D passes",
        "Papamakarios et al. 2017",
        "maf-points",
        {**STEPPED, "steps": 10, "structure": "autoregressive", "permutation": "reverse"},
    ),
    Subject(
        "Neural spline flow, autoregressive",
        "Then(autoregressive splines, StandardNormal)",
        "yᵢ = a monotonic spline of xᵢ, its knots of x₁..ᵢ₋₁",
        PASS,
        "D passes",
        "Durkan et al. 2019",
        "nsf-points",
        {"family": "points", "steps": 5, "structure": "autoregressive", "bins": 8},
    ),
    Subject(
        "Ordinal autoregressive",
        "Ordinal(causal transformer): whole numbers as they are, without Dequantize",
        "P(v) = Σₖ πₖ [σ(z₊) − σ(z₋)], of the pixels before",
        "1 pass, attention of T² patches",
        "T cached steps",
        "Salimans et al. 2017, the head",
        "ar-tiny, ar-small",
        digits="ar-tiny",
    ),
    Subject(
        "TarFlow",
        "Dequantize(uniform, Then(causal affine blocks, StandardNormal))",
        "zₜ = (xₜ − μ(x₁..ₜ₋₁)) · exp(−α(x₁..ₜ₋₁)), t a patch",
        "1 pass, attention of T² patches",
        "T cached steps a block",
        "Zhai et al. 2024",
        "tarflow-tiny",
        digits="tarflow-tiny",
    ),
    Subject(
        "Jet",
        "Dequantize(uniform, Then(couplings of patches with vision transformers, StandardNormal))",
        "y₂ = (x₂ + b(x₁)) · 2σ(r(x₁)), halves of each patch, or of the patches",
        "1 pass, attention of T² patches",
        "1 pass, attention of T² patches",
        "Kolesnikov et al. 2024",
        "jet-tiny, jet-small",
        digits="jet-tiny",
    ),
    Subject(
        "VFlow",
        "Augmented(learned noise of e given x, a flow of [x, e])",
        "log p(x) ≥ log p(x, e) − log q(e | x)",
        "as the flow inside; K times for a tight bound",
        "as the flow inside",
        "Chen et al. 2020",
        "vflow-tiny, vflow-points",
        {**STEPPED, "steps": 16, "augmented_features": 2, "augmentation": "variational"},
        digits="vflow-tiny",
    ),
    Subject(
        "ANF",
        "Augmented(StandardNormal e, couplings of x and e in turn)",
        "e ← (e − m(x)) / s(x), then x ← (x − m(e)) / s(e)",
        "as the flow inside; K times for a tight bound",
        "as the flow inside",
        "Huang et al. 2020",
        "anf-points",
        {**STEPPED, "steps": 16, "permutation": "reverse", "augmented_features": 2},
    ),
    Subject(
        "CIF",
        "Augmented(q(u | x), Then(f conditioned by u, Split(p(u | z), ...))), nested",
        "z = f(x; u), log p(z) + ladj + log p(u | z) − log q(u | x)",
        "1 pass; K times for a tight bound",
        PASS,
        "Cornish et al. 2020",
        "cif-points",
        {**STEPPED, "steps": 8, "augmented_features": 1, "augmentation": "indexed"},
    ),
    Subject(
        "SurVAE, absolute value",
        "Absolute(even signs, Then(...)): a density that is the same on both sides of 0",
        "log p(x) = log p(|x|) + D ln ½",
        "as the flow inside",
        "as the flow inside",
        "Nielsen et al. 2020",
        "spline-points with preprocessing=absolute",
        {"family": "points", "preprocessing": "absolute"},
    ),
    Subject(
        "Planar",
        "Then(planar layers, StandardNormal)",
        "y = x + u tanh(wᵀx + b)",
        "O(D) a layer",
        "a scalar root a layer",
        "Rezende and Mohamed 2015",
        "spline-points with coupling=planar",
        {"family": "points", "coupling": "planar", "steps": 32},
        sized="",
    ),
    Subject(
        "Radial",
        "Then(radial layers, StandardNormal)",
        "y = x + β (x − x₀) / (α + |x − x₀|)",
        "O(D) a layer",
        "O(D) a layer",
        "Rezende and Mohamed 2015",
        "spline-points with coupling=radial",
        {"family": "points", "coupling": "radial", "steps": 32},
        sized="",
    ),
    Subject(
        "Residual flow",
        "Then(residual blocks, StandardNormal); with many dimensions ThenEstimated",
        "y = x + g(x), Lip(g) < 1",
        "1 pass and D products with a Jacobian; some 4 where estimated",
        "20 to 200 passes a block",
        "Behrmann et al. 2019; Chen et al. 2019",
        "residual-tiny, residual-points",
        {"family": "residual"},
        digits="residual-tiny",
        cifar10="3.28",
    ),
    Subject(
        "FFJORD",
        "Then(Integrate(f), StandardNormal)",
        "dx/dt = f(x, t), d log p / dt = −tr ∂f/∂x",
        "4 · steps passes, each with D products with a Jacobian",
        "4 · steps passes",
        "Grathwohl et al. 2019",
        "ffjord-points",
        {"family": "continuous", "training": "likelihood"},
        cifar10="3.40",
    ),
    Subject(
        "Flow matching",
        "Matched(Then(Integrate(f), StandardNormal)): the same, trained without integrating",
        "minimise |f(xₜ, t) − (x − ε)|², xₜ = (1 − t) ε + t x",
        "4 · steps passes, each with D products with a Jacobian; in training 1",
        "4 · steps passes",
        "Lipman et al. 2023",
        "matching-points",
        {"family": "continuous"},
    ),
]
