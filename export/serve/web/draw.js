// Takes pictures: drawn by pointer or keyboard where the model takes grey ones, or from a file.

import { element } from "./elements.js";
import { flatten, toRow } from "./resize.js";

const SIDE = 320;
const STEP = SIDE / 32;

export function createPictures(model, section, onRow, onEmpty) {
  const { image } = model.facts.preprocessing;
  const seen = element("canvas", { className: "pixelated", role: "img", "aria-label": "The picture as the model sees it" });
  const file = element("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/bmp", id: "file" });
  const invert = element("input", { type: "checkbox", id: "invert" });
  const problem = element("p", { className: "error", role: "alert" });
  const shown = element("figure", { hidden: true }, element("figcaption", { className: "hint" }, "What the model sees:"), seen);
  let pixels = null;

  function take(planes, width, height) {
    const row = toRow(planes, width, height, image);
    paint(seen, row, { ...image, width: image.width ?? width, height: image.height ?? height });
    shown.hidden = false;
    problem.textContent = "";
    onRow(row);
  }

  function takePixels() {
    if (pixels) take(flatten(pixels, image.channels, invert.checked), pixels.width, pixels.height);
  }

  file.addEventListener("change", async () => {
    if (!file.files.length) return;
    try {
      // As the pixels stand in the file, without the colours of a screen.
      const bitmap = await createImageBitmap(file.files[0], { colorSpaceConversion: "none", premultiplyAlpha: "none" });
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      const context = canvas.getContext("2d");
      context.drawImage(bitmap, 0, 0);
      pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
    } catch {
      problem.textContent = `${file.files[0].name} cannot be read as an image.`;
      return;
    }
    takePixels();
  });
  invert.addEventListener("change", takePixels);

  if (image.channels === 1 && image.height !== null && image.width !== null) {
    section.append(...drawing(image, (planes, width, height) => { pixels = null; file.value = ""; take(planes, width, height); }, () => {
      pixels = null;
      shown.hidden = true;
      onEmpty();
    }));
  }
  section.append(
    element("div", { className: "row" }, element("label", { htmlFor: "file" }, image.channels === 1 ? "Or a picture from a file:" : "A picture from a file:"), file),
    element("div", { className: "row" }, element("label", {}, invert, image.channels === 1 ? "It is dark on white: swap black and white" : "Swap dark and light")),
    problem,
    shown,
  );
}

function drawing(image, onInk, onEmpty) {
  // Strokes in the data sets of digits are one to two pixels wide in small images, and three in those of 28 x 28.
  const penWidth = SIDE * Math.max(1.2 / image.height, 1 / 12);
  const width = Math.round(SIDE * Math.min(image.width / image.height, 1));
  const height = Math.round(SIDE * Math.min(image.height / image.width, 1));
  const canvas = element("canvas", {
    className: "drawing", id: "drawing", width, height, tabIndex: 0, role: "application", "aria-describedby": "drawing-hint",
    "aria-label": "Drawing board. Arrow keys move the pen, space puts it down or lifts it, backspace undoes, delete clears.",
  });
  canvas.style.aspectRatio = `${width} / ${height}`;
  const ink = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const context = canvas.getContext("2d");
  const pen = { x: width / 2, y: height / 2, down: false, shown: false };
  let strokes = [];
  let scheduled = false;

  function redraw() {
    ink.fillStyle = "#000";
    ink.fillRect(0, 0, width, height);
    ink.strokeStyle = "#fff";
    ink.lineWidth = penWidth;
    ink.lineCap = ink.lineJoin = "round";
    for (const stroke of strokes) {
      ink.beginPath();
      ink.moveTo(...stroke[0]);
      for (const point of stroke.length > 1 ? stroke.slice(1) : stroke) ink.lineTo(...point);
      ink.stroke();
    }
    context.drawImage(ink.canvas, 0, 0);
    if (pen.shown) {
      context.strokeStyle = pen.down ? "#ff8c1a" : "#4da3ff";
      context.lineWidth = 3;
      context.beginPath();
      context.arc(pen.x, pen.y, penWidth / 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  function changed() {
    redraw();
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      if (!strokes.length) onEmpty();
      else onInk(flatten(ink.getImageData(0, 0, width, height), 1, false), width, height);
    });
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    pen.shown = pen.down = false;
    strokes.push([place(event)]);
    changed();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) strokes.at(-1).push(place(each));
    strokes.at(-1).push(place(event));
    changed();
  });
  canvas.addEventListener("blur", () => { pen.shown = pen.down = false; redraw(); });
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in moves) {
      pen.x = Math.min(Math.max(pen.x + moves[event.key][0] * STEP, 0), width);
      pen.y = Math.min(Math.max(pen.y + moves[event.key][1] * STEP, 0), height);
      if (pen.down) strokes.at(-1).push([pen.x, pen.y]);
    } else if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) strokes.push([[pen.x, pen.y]]);
    } else if (event.key === "Backspace") {
      undo();
    } else if (event.key === "Delete") {
      clear();
    } else {
      return;
    }
    pen.shown = true;
    event.preventDefault();
    changed();
  });

  function undo() { strokes.pop(); pen.down = false; changed(); }
  function clear() { strokes = []; pen.down = false; changed(); }

  const buttons = [["Clear", clear, "clear"], ["Undo", undo, "undo"]].map(([text, does, id]) => {
    const button = element("button", { type: "button", id }, text);
    button.addEventListener("click", does);
    return button;
  });
  redraw();
  return [
    canvas,
    element("p", { className: "hint", id: "drawing-hint" }, "Draw so that it fills the field, with the pointer, or with the arrow keys and the space bar."),
    element("div", { className: "row" }, buttons),
  ];
}

function paint(canvas, row, { width, height, channels, range: [low, high] }) {
  canvas.width = width;
  canvas.height = height;
  const picture = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      const value = row[pixel * channels + (channels === 1 ? 0 : channel)];
      picture.data[4 * pixel + channel] = (255 * (value - low)) / (high - low);
    }
    picture.data[4 * pixel + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}
