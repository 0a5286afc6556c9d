// The square between four images: a pointer in it moves the two sliders below, which keys move too.
const slide = (name, value) => {
  const slider = document.querySelector(`#${name} input[type=range]`);
  slider.value = Math.min(Math.max(value, 0), 1);
  slider.dispatchEvent(new Event('input', { bubbles: true }));
};
const follow = event => {
  const field = element.querySelector('.field').getBoundingClientRect();
  slide('across', (event.clientX - field.left) / field.width);
  slide('down', (event.clientY - field.top) / field.height);
};
let held = false;
element.addEventListener('pointerdown', event => {
  if (!event.target.closest('.field')) return;
  event.preventDefault();
  element.setPointerCapture(event.pointerId);
  held = true;
  follow(event);
});
element.addEventListener('pointermove', event => held && follow(event));
for (const end of ['pointerup', 'pointercancel'])
  element.addEventListener(end, () => { held = false; });
