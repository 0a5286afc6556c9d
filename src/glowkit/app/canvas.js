// The canvas: what is drawn on it, at the model's own pixels, is the value of this component, a PNG.
const canvas = element.querySelector('canvas'), at = element.querySelector('.at');
const ink = element.querySelector('.ink'), size = element.querySelector('.size');
const pen = canvas.getContext('2d');
let last = null, cell = [canvas.width >> 1, canvas.height >> 1];

const load = () => {
  if (!props.value) return;
  const image = new Image();
  image.onload = () => pen.drawImage(image, 0, 0);
  image.src = props.value;
};
const send = () => { props.value = canvas.toDataURL(); };
const stroke = (from, to) => {
  const grey = ink.type === 'range';
  pen.strokeStyle = grey ? `rgb(${ink.value}, ${ink.value}, ${ink.value})` : ink.value;
  pen.lineWidth = size.value;
  pen.lineCap = 'round';
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(to[0] + 0.001, to[1]);  // a dot too has a length
  pen.stroke();
  send();
};
const place = event => {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * canvas.width,
          (event.clientY - box.top) / box.height * canvas.height];
};

canvas.addEventListener('pointerdown', event => {
  canvas.setPointerCapture(event.pointerId);
  last = place(event);
  stroke(last, last);
});
canvas.addEventListener('pointermove', event => {
  if (last === null) return;
  const now = place(event);
  stroke(last, now);
  last = now;
});
for (const end of ['pointerup', 'pointercancel'])
  canvas.addEventListener(end, () => { last = null; });

const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener('keydown', event => {
  const [x, y] = moves[event.key] ?? [0, 0], draws = [' ', 'Enter'].includes(event.key);
  if (!moves[event.key] && !draws) return;
  event.preventDefault();
  cell = [Math.min(Math.max(cell[0] + x, 0), canvas.width - 1),
          Math.min(Math.max(cell[1] + y, 0), canvas.height - 1)];
  at.style.left = `${100 * (cell[0] + 0.5) / canvas.width}%`;
  at.style.top = `${100 * (cell[1] + 0.5) / canvas.height}%`;
  if (draws) stroke([cell[0] + 0.5, cell[1] + 0.5], [cell[0] + 0.5, cell[1] + 0.5]);
});
element.querySelector('.fill').addEventListener('click', () => {
  pen.fillStyle = ink.type === 'range' ? `rgb(${ink.value}, ${ink.value}, ${ink.value})` : ink.value;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  send();
});
watch('value', load);
load();
