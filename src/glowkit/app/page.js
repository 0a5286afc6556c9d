// What a person does on the page, and the pictures that follow; a worker computes them (glow.js).
"use strict";

const byId = id => document.getElementById(id);
const about = JSON.parse(byId("about").textContent);
const numbers = text =>
  new Float32Array(Uint8Array.from(atob(text), sign => sign.charCodeAt(0)).buffer);
const [channels, height, width] = about.shape;

const source = new Blob([byId("glow").textContent], { type: "text/javascript" });
const worker = new Worker(URL.createObjectURL(source));
worker.postMessage({
  what: "begin",
  about: { shape: about.shape, levels: about.levels, program: about.program },
  numbers: numbers(about.numbers),
  directions: numbers(about.directions),
});

// One question at a time; of those that wait, the newest under each key.
const waiting = new Map();
let asked = null;

function ask(key, question, answered) {
  waiting.set(key, { question, answered });
  askNext();
}

function askNext() {
  if (asked || !waiting.size) return;
  const [key, next] = waiting.entries().next().value;
  waiting.delete(key);
  asked = next;
  document.body.dataset.busy = "true";
  worker.postMessage({ key, ...next.question });
}

worker.onmessage = ({ data }) => {
  const { answered } = asked;
  asked = null;
  answered(data);
  askNext();
  document.body.dataset.busy = String(asked !== null);
};

worker.onerror = event => {
  byId("failed").textContent = `The model cannot be computed here: ${event.message}`;
  byId("failed").hidden = false;
};

function element(name, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
}

function paint(canvas, image) {
  const pixels = new ImageData(width, height), plane = height * width;
  for (let at = 0; at < plane; at++) {
    for (let colour = 0; colour < 3; colour++) {
      const level = image[(channels === 1 ? 0 : colour) * plane + at];
      pixels.data[4 * at + colour] = Math.round((level * 255) / (about.levels - 1));
    }
    pixels.data[4 * at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// A picture with its name and its bits/dim below, in `where`; returns a function that fills it.
function picture(where, name, caption = name) {
  const canvas = element("canvas", { width, height, role: "img" });
  const words = element("figcaption", { textContent: caption });
  canvas.setAttribute("aria-label", name);
  where.append(element("figure", {}, canvas, words));
  return ({ image, whole, bits }) => {
    const known = Number.isFinite(bits) ? `${bits.toFixed(3)} bits/dim` : "no finite bits/dim";
    const figure = whole ? known : "could not be computed";
    if (whole) paint(canvas, image);
    else canvas.getContext("2d").clearRect(0, 0, width, height); // the hatching is behind
    canvas.classList.toggle("broken", !whole);
    canvas.setAttribute("aria-label", `${name}: ${figure}`);
    words.textContent = caption ? `${caption}: ${figure}` : figure;
  };
}

// Radio buttons that are pictures.
function choices(where, name, chosen, follow) {
  about.images.forEach((image, row) => {
    const canvas = element("canvas", { width, height });
    paint(canvas, image);
    const kind = about.names.length ? `, ${about.names[about.labels[row]]}` : "";
    const button = element("input", { type: "radio", name, value: row, checked: row === chosen });
    button.setAttribute("aria-label", `image ${row + 1}${kind}`);
    button.addEventListener("change", follow);
    where.append(element("label", { className: "choice" }, button, canvas));
  });
  return () => Number(document.querySelector(`input[name="${name}"]:checked`).value);
}

// A slider under its name, which says where it stands.
function slider(where, { id, name, min, max, step, value }, follow) {
  const input = element("input", { id, type: "range" });
  Object.assign(input, { min, max, step, value: String(value) });
  const stand = element("output", { htmlFor: id });
  const say = () => { stand.textContent = Number(input.value).toFixed(2); };
  input.addEventListener("input", () => { say(); follow(); });
  say();
  where.append(element("div", { className: "slider" },
    element("label", { htmlFor: id, textContent: name }), input, stand));
  return {
    get: () => Number(input.value),
    set(amount) { input.value = String(amount); say(); },
  };
}

const labelOf = row => about.labels[row] ?? 0;

function sampling() {
  const shown = Array.from({ length: about.samples }, (_, i) =>
    picture(byId("samples"), `sample ${i + 1}`, ""));
  const temperature = slider(byId("sampling"), {
    id: "temperature", name: "Temperature", min: 0, max: about.most, step: 0.01,
    value: Math.min(0.7, about.most),
  }, follow);
  const kind = byId("kind");
  function follow() {
    const seed = byId("seed").valueAsNumber; // NaN of what is no number
    const usable = Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32;
    byId("seed").setAttribute("aria-invalid", String(!usable));
    byId("seed-wrong").hidden = usable;
    if (!usable) return;
    const own = kind ? Number(kind.value) : 0;
    shown.forEach((show, number) => {
      const label = own < 0 ? number % about.names.length : own;
      ask(`sample ${number}`,
        { what: "sample", temperature: temperature.get(), seed, number, label }, show);
    });
  }
  byId("seed").addEventListener("input", follow);
  byId("other").addEventListener("click", () => {
    byId("seed").value = Math.floor(Math.random() * 1e6);
    follow();
  });
  if (kind) kind.addEventListener("change", follow);
  follow();
}

function interpolating() {
  const ends = byId("ends");
  const shown = ["first", "between", "second"].map(name => picture(ends, name));
  const rows = [0, 1].map(end =>
    choices(byId(`choices-${end}`), `end-${end}`, Math.min(end, about.images.length - 1), follow));
  const place = slider(byId("interpolating"), {
    id: "place", name: "From the first to the second", min: 0, max: 1, step: 0.01, value: 0.5,
  }, middle);
  function middle() {
    const [a, b] = rows.map(row => row());
    ask("between", {
      what: "between", first: about.images[a], second: about.images[b], t: place.get(),
      labels: [labelOf(a), labelOf(b)],
    }, shown[1]);
  }
  function follow() {
    rows.map(row => row()).forEach((row, end) => {
      ask(`end ${end}`, { what: "real", image: about.images[row], label: labelOf(row) },
        shown[2 * end]);
    });
    middle();
  }
  follow();
}

function editing() {
  const shown = ["before", "after"].map(name => picture(byId("edited"), name));
  const row = choices(byId("choices-edit"), "edit", 0, follow);
  const amounts = about.attributes.map(({ name, auroc }, i) => slider(byId("amounts"), {
    id: `attribute-${i}`, name: auroc === null ? name : `${name} (${auroc.toFixed(2)})`,
    min: -1.5, max: 1.5, step: 0.01, value: 0,
  }, after));
  function after() {
    const image = about.images[row()], label = labelOf(row());
    ask("after", { what: "edit", image, label, amounts: amounts.map(each => each.get()) }, shown[1]);
  }
  function follow() {
    ask("before", { what: "real", image: about.images[row()], label: labelOf(row()) }, shown[0]);
    after();
  }
  byId("reset").addEventListener("click", () => {
    amounts.forEach(each => each.set(0));
    after();
  });
  follow();
}

sampling();
interpolating();
if (about.attributes.length) editing();
