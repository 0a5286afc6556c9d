// A Glow, both ways, in plain JavaScript: what src/glowkit/app/export.py wrote, computed in float64.
// Tensors are Float64Array of channels × height × width, one image at a time.
"use strict";

const softplus = z => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
const sigmoid = z => (z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z)));
const LOG_2PI = Math.log(2 * Math.PI);

// y = W * x + b. Beyond the image a 3x3 kernel sees zeros, and one channel more that is 1 there.
function convolve(x, h, w, { inputs, outputs, kernel, weight, bias }) {
  const pixels = h * w, patch = weight.length / outputs;
  const patches = kernel === 1 ? transposed(x, inputs, pixels) : patches3(x, h, w, inputs);
  const y = new Float64Array(outputs * pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const from = pixel * patch;
    let o = 0;
    for (; o + 4 <= outputs; o += 4) { // four at once, for which each number is read once
      const p = o * patch, q = p + patch, r = q + patch, s = r + patch;
      let a = bias[o], b = bias[o + 1], c = bias[o + 2], d = bias[o + 3];
      for (let i = 0; i < patch; i++) {
        const value = patches[from + i];
        a += value * weight[p + i];
        b += value * weight[q + i];
        c += value * weight[r + i];
        d += value * weight[s + i];
      }
      const to = o * pixels + pixel;
      y[to] = a;
      y[to + pixels] = b;
      y[to + 2 * pixels] = c;
      y[to + 3 * pixels] = d;
    }
    for (; o < outputs; o++) {
      let a = bias[o];
      for (let i = 0; i < patch; i++) a += patches[from + i] * weight[o * patch + i];
      y[o * pixels + pixel] = a;
    }
  }
  return y;
}

function transposed(x, channels, pixels) {
  const y = new Float64Array(x.length);
  for (let c = 0, at = 0; c < channels; c++) {
    for (let pixel = 0; pixel < pixels; pixel++, at++) y[pixel * channels + c] = x[at];
  }
  return y;
}

function patches3(x, h, w, channels) {
  const y = new Float64Array(h * w * (channels + 1) * 9);
  for (let row = 0, at = 0; row < h; row++) {
    for (let col = 0; col < w; col++) {
      for (let c = 0; c <= channels; c++) {
        for (let tap = 0; tap < 9; tap++, at++) {
          const r = row + Math.floor(tap / 3) - 1, k = col + (tap % 3) - 1;
          const inside = r >= 0 && r < h && k >= 0 && k < w;
          if (c < channels) y[at] = inside ? x[(c * h + r) * w + k] : 0;
          else y[at] = inside ? 0 : 1;
        }
      }
    }
  }
  return y;
}

function conditioner(x, h, w, layers) {
  return layers.reduce((y, layer, i) => {
    const z = convolve(y, h, w, layer);
    return i < layers.length - 1 ? z.map(value => Math.max(value, 0)) : z;
  }, x);
}

// Elementwise maps: x and the parameters p of one element to [y, ln dy/dx], and y back to x.
const transformers = {
  additive: () => ({
    forward: (x, p) => [x + p[0], 0],
    inverse: (y, p) => y - p[0],
  }),
  affine: () => ({
    forward: (x, p) => [(x + p[0]) * sigmoid(p[1] + 2), -softplus(-p[1] - 2)],
    inverse: (y, p) => y / sigmoid(p[1] + 2) - p[0],
  }),
  "tanh-affine": gain => ({
    forward: (x, p, channel) => {
      const s = gain[channel] * Math.tanh(p[1]);
      return [(x + p[0]) * Math.exp(s), s];
    },
    inverse: (y, p, channel) => y * Math.exp(-gain[channel] * Math.tanh(p[1])) - p[0],
  }),
  mixture: () => ({ forward: mixtureForward, inverse: mixtureInverse }),
};

const SMALLEST_LOG_SCALE = -7;

// y = logit F(x) · exp(s) + t, F the distribution function of a mixture of logistics, in log space.
function mixtureForward(x, p) {
  const k = (p.length - 2) / 3, s = Math.tanh(p[0]);
  const logits = p.subarray(2, 2 + k), whole = logSumExp(logits);
  const below = new Float64Array(k), above = new Float64Array(k), density = new Float64Array(k);
  for (let i = 0; i < k; i++) {
    const logScale = Math.max(p[2 + 2 * k + i], SMALLEST_LOG_SCALE);
    const z = (x - p[2 + k + i]) * Math.exp(-logScale);
    above[i] = logits[i] - whole - softplus(z);
    below[i] = above[i] + z;
    density[i] = below[i] - softplus(z) - logScale;
  }
  const [f, g] = [logSumExp(below), logSumExp(above)];
  return [(f - g) * Math.exp(s) + p[1], logSumExp(density) - f - g + s];
}

// Bisection between the roots that the components would have alone; they hold the mixture's.
function mixtureInverse(y, p) {
  const k = (p.length - 2) / 3, r = (y - p[1]) * Math.exp(-Math.tanh(p[0]));
  let low = Infinity, high = -Infinity;
  for (let i = 0; i < k; i++) {
    const root = p[2 + k + i] + r * Math.exp(Math.max(p[2 + 2 * k + i], SMALLEST_LOG_SCALE));
    low = Math.min(low, root);
    high = Math.max(high, root);
  }
  for (let halving = 0; halving < 60; halving++) {
    const middle = (low + high) / 2;
    if (mixtureForward(middle, p)[0] > y) high = middle;
    else low = middle;
  }
  return (low + high) / 2;
}

function logSumExp(values) {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return most + Math.log(values.reduce((total, value) => total + Math.exp(value - most), 0));
}

// Each kind of layer: `read` takes its numbers from the file, in the order they were written;
// `forward` and `inverse` take {x, c, h, w}, and forward returns ln |det| too.
const layers = {
  shift: {
    read: () => ({}),
    forward: (t, { amount }) => [{ ...t, x: t.x.map(v => v + amount) }, 0],
    inverse: (t, { amount }) => ({ ...t, x: t.x.map(v => v - amount) }),
  },
  logit: {
    read: () => ({}),
    forward(t, { alpha }) {
      let ladj = 0;
      const x = t.x.map(v => {
        const p = alpha + (1 - 2 * alpha) * v, y = Math.log(p) - Math.log1p(-p);
        ladj += softplus(y) + softplus(-y) + Math.log(1 - 2 * alpha);
        return y;
      });
      return [{ ...t, x }, ladj];
    },
    inverse: (t, { alpha }) => ({ ...t, x: t.x.map(y => (sigmoid(y) - alpha) / (1 - 2 * alpha)) }),
  },
  squeeze: {
    read: () => ({}),
    forward: t => [squeezed(t, false), 0],
    inverse: t => squeezed(t, true),
  },
  mix: {
    read: (take, { channels: c }) => ({
      there: { inputs: c, outputs: c, kernel: 1, weight: take(c * c), bias: take(c) },
      back: { inputs: c, outputs: c, kernel: 1, weight: take(c * c), bias: take(c) },
    }),
    forward: (t, layer) => [
      { ...t, x: convolve(t.x, t.h, t.w, layer.there) }, t.h * t.w * layer.ladj,
    ],
    inverse: (t, layer) => ({ ...t, x: convolve(t.x, t.h, t.w, layer.back) }),
  },
  coupling: {
    read: (take, layer) => ({
      net: layer.convolutions.map(each => convolution(take, each)),
      map: transformers[layer.transformer](take(layer.gains)),
    }),
    forward: (t, layer) => coupled(t, layer, false),
    inverse: (t, layer) => coupled(t, layer, true)[0],
  },
};

const convolution = (take, { inputs, outputs, kernel }) => ({
  inputs, outputs, kernel,
  weight: take(outputs * (kernel > 1 ? (inputs + 1) * 9 : inputs)),
  bias: take(outputs),
});

function squeezed({ x, c, h, w }, back) {
  const y = new Float64Array(x.length);
  const [channels, rows, cols] = back ? [c / 4, h, w] : [c, h / 2, w / 2]; // of blocks
  for (let at = 0, channel = 0; channel < 4 * channels; channel++) {
    const dy = (channel >> 1) & 1, dx = channel & 1, plane = (channel >> 2) * 4 * rows * cols;
    for (let row = 0; row < rows; row++) {
      for (let col = 0; col < cols; col++, at++) {
        const wide = plane + (2 * row + dy) * 2 * cols + 2 * col + dx;
        if (back) y[wide] = x[at];
        else y[at] = x[wide];
      }
    }
  }
  return back ? { x: y, c: c / 4, h: 2 * h, w: 2 * w } : { x: y, c: 4 * c, h: h / 2, w: w / 2 };
}

function coupled(t, { kept, parameters, net, map }, back) {
  const { c, h, w } = t, pixels = h * w, x = t.x.slice(), p = new Float64Array(parameters);
  const given = conditioner(x.subarray(0, kept * pixels), h, w, net);
  let ladj = 0;
  for (let channel = 0; channel < c - kept; channel++) {
    for (let pixel = 0; pixel < pixels; pixel++) {
      for (let k = 0; k < parameters; k++) p[k] = given[(channel * parameters + k) * pixels + pixel];
      const at = (kept + channel) * pixels + pixel;
      if (back) x[at] = map.inverse(x[at], p, channel);
      else {
        const [y, log] = map.forward(x[at], p, channel);
        x[at] = y;
        ladj += log;
      }
    }
  }
  return [{ c, h, w, x }, ladj];
}

// What leaves at a split, and what is left at the end: normal, with mean m and ln s for each value.
function whiten(x, mean, logStd) {
  let logP = 0;
  const noise = x.map((value, i) => {
    const eps = (value - mean(i)) * Math.exp(-logStd(i));
    logP -= 0.5 * (eps * eps + LOG_2PI + 2 * logStd(i));
    return eps;
  });
  return [noise, logP];
}

const colour = (noise, mean, logStd) =>
  noise.map((eps, i) => mean(i) + Math.exp(logStd(i)) * eps);

// The prior of a split: channel 2j of what its network gives is m_j, 2j + 1 is ln s_j.
function splitPrior(kept, h, w, net) {
  const pixels = h * w, given = conditioner(kept, h, w, net);
  const at = i => 2 * i - (i % pixels);
  return [i => given[at(i)], i => given[at(i) + pixels]];
}

// `program`: the layers, as JSON; `numbers`: Float32Array of all of theirs, in order.
function makeGlow({ shape, levels, program }, numbers) {
  let place = 0;
  const take = count => Float64Array.from(numbers.subarray(place, (place += count)));
  const parts = program.map(layer => {
    const own = { ...layer };
    if (layer.kind === "split") own.net = [convolution(take, layer.convolution)];
    else if (layer.kind === "prior") {
      own.means = take(layer.sets * layer.size);
      own.logStds = take(layer.sets * layer.size);
    } else Object.assign(own, layers[layer.kind].read(take, layer));
    return own;
  });
  if (place !== numbers.length) throw new Error(`${numbers.length - place} numbers are left over`);
  const size = shape[0] * shape[1] * shape[2];

  // v in [0, 1) to its noise, one vector in the order in which parts of it leave, and ln p(v).
  function encode(v, label = 0) {
    let t = { x: v, c: shape[0], h: shape[1], w: shape[2] }, logP = 0, at = 0;
    const noise = new Float64Array(size);
    const leave = ([eps, log]) => {
      noise.set(eps, at);
      at += eps.length;
      logP += log;
    };
    for (const layer of parts) {
      if (layer.kind === "split") {
        const cut = layer.kept * t.h * t.w, rest = t.x.subarray(cut);
        t = { ...t, x: t.x.slice(0, cut), c: layer.kept };
        leave(whiten(rest, ...splitPrior(t.x, t.h, t.w, layer.net)));
      } else if (layer.kind === "prior") leave(whiten(t.x, ...topPrior(layer, label)));
      else {
        const [next, ladj] = layers[layer.kind].forward(t, layer);
        t = next;
        logP += ladj;
      }
    }
    return { noise, logP };
  }

  // Noise as one vector to v.
  function decode(noise, label = 0) {
    let t = null, end = size;
    for (const layer of [...parts].reverse()) {
      if (layer.kind === "prior") {
        const { shape: [c, h, w] } = layer, eps = noise.subarray(end - layer.size, end);
        end -= layer.size;
        t = { x: colour(eps, ...topPrior(layer, label)), c, h, w };
      } else if (layer.kind === "split") {
        const x = new Float64Array(layer.channels * t.h * t.w), count = x.length - t.x.length;
        const eps = noise.subarray(end - count, end);
        end -= count;
        x.set(t.x);
        x.set(colour(eps, ...splitPrior(t.x, t.h, t.w, layer.net)), t.x.length);
        t = { ...t, x, c: layer.channels };
      } else t = layers[layer.kind].inverse(t, layer);
    }
    return t.x;
  }

  const topPrior = ({ means, logStds, size: each }, label) => [
    i => means[label * each + i], i => logStds[label * each + i],
  ];

  // ln P of integers, given where in their bins they are taken to be: a draw of a lower bound.
  function logProb(image, u, label = 0) {
    const v = Float64Array.from(image, (value, i) => (value + u[i]) / levels);
    return encode(v, label).logP - size * Math.log(levels);
  }

  const latents = (image, label) =>
    encode(Float64Array.from(image, value => (value + 0.5) / levels), label).noise;

  // Integers, and whether each could be computed.
  function image(v) {
    const whole = v.every(Number.isFinite);
    const clip = value => Math.min(Math.max(Math.floor(value * levels), 0), levels - 1);
    return { whole, image: Array.from(v, value => (Number.isFinite(value) ? clip(value) : 0)) };
  }

  return { encode, decode, logProb, latents, image, size };
}

// Uniform numbers of a seed (sfc32), and normal ones of them (Box and Muller).
function uniforms(...seed) {
  let [a, b, c, d] = [seed[0] >>> 0, (seed[1] ?? 0) >>> 0, 0x9e3779b9, 1];
  const next = () => {
    const t = (a + b + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return ((t >>> 0) + 0.5) / 2 ** 32;
  };
  for (let i = 0; i < 16; i++) next();
  return next;
}

function normals(count, ...seed) {
  const uniform = uniforms(...seed);
  return Float64Array.from({ length: count }, () =>
    Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}

// Along the arc from a to b, so that what is between is as long as what the model draws.
function spherical(a, b, t) {
  const dot = (p, q) => p.reduce((total, value, i) => total + value * q[i], 0);
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const angle = Math.acos(Math.min(Math.max(cosine, -1), 1)), sine = Math.sin(angle);
  const [p, q] = sine > 1e-3
    ? [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine] : [1 - t, t];
  return a.map((value, i) => p * value + q * b[i]);
}

const DRAWS = 4; // of dequantization noise under each figure, always the same ones

// Of a draw: its number is one that no sample has, so that the noise of a sample is another.
const dequantization = draw => uniforms(0, 2 ** 31 + draw);

// What the page asks of a model. `directions`: Float32Array, `size` numbers for each attribute.
function makeAnswers(about, numbers, directions) {
  const glow = makeGlow(about, numbers), { size } = glow;

  function bits(image, label) {
    let total = 0;
    for (let draw = 0; draw < DRAWS; draw++) {
      const uniform = dequantization(draw);
      total += glow.logProb(image, Float64Array.from({ length: size }, uniform), label);
    }
    return -total / DRAWS / size / Math.log(2);
  }

  function shown(latents, label) {
    const { image, whole } = glow.image(glow.decode(latents, label));
    return { image, whole, bits: whole ? bits(image, label) : NaN };
  }

  return {
    sample: ({ temperature, seed, number, label }) =>
      shown(normals(size, seed, number).map(eps => eps * temperature), label),
    real: ({ image, label }) => ({ image, whole: true, bits: bits(image, label) }),
    between({ first, second, t, labels }) {
      const [a, b] = [first, second].map((image, i) => glow.latents(image, labels[i]));
      return shown(spherical(a, b, t), labels[t < 0.5 ? 0 : 1]);
    },
    edit({ image, amounts, label }) {
      const latents = glow.latents(image, label);
      amounts.forEach((amount, row) => {
        if (amount) for (let i = 0; i < size; i++) latents[i] += amount * directions[row * size + i];
      });
      return shown(latents, label);
    },
    decode: ({ latents, label }) => ({ v: Array.from(glow.decode(Float64Array.from(latents), label)) }),
    logProb: ({ image, u, label }) => ({ logP: glow.logProb(image, u, label) }),
  };
}

if (typeof WorkerGlobalScope !== "undefined") {
  let answers = null;
  onmessage = ({ data: { key, what, ...given } }) => {
    if (what === "begin") answers = makeAnswers(given.about, given.numbers, given.directions);
    else postMessage({ key, ...answers[what](given) });
  };
} else if (typeof module !== "undefined") module.exports = { makeGlow, makeAnswers, uniforms, dequantization };
