// Takes points of two features on a plane that is coloured by what the model says everywhere; a map, of places.

import { element, short } from "./elements.js";
import { numberField } from "./fields.js";
import { highest } from "./model.js";

const WIDTH = 720;
// The plane is coloured coarsely first, so that there is something to look at.
const COARSE = 12;
const FINE = 2;
const ROWS = 4096;
const MARGIN = 0.06;

export function isPlane({ inputs, features, answer }) {
  return inputs.length === 1 && inputs[0].shape.length === 2 && features.length === 2 && answer === "classes"
    && features.every((feature) => feature.low !== undefined && feature.high > feature.low);
}

export function createPlane(model, section, palette, onRow) {
  const { features } = model.facts;
  const geographic = /^lat/i.test(features[0].name) && /^(lon|lng)/i.test(features[1].name);
  // On a map the longitude goes to the right, whichever comes first in the table.
  const [across, up] = geographic ? [1, 0] : [0, 1];
  const ends = features.map(({ low, high }) => [low - MARGIN * (high - low), high + MARGIN * (high - low)]);
  if (geographic) {
    ends[0] = [Math.max(ends[0][0], -90), Math.min(ends[0][1], 90)];
    ends[1] = [Math.max(ends[1][0], -180), Math.min(ends[1][1], 180)];
  }
  const height = Math.round(WIDTH * proportion(ends, across, up, geographic));
  const canvas = element("canvas", {
    className: "map", id: "map", width: WIDTH, height, tabIndex: 0, role: "application", "aria-describedby": "map-hint",
    "aria-label": `${geographic ? "Map" : "Plane"} of ${features[across].name} and ${features[up].name}. Arrow keys move the point.`,
  });
  const made = features.map((feature, number) => numberField(feature, `field-${number}`, feature.mean ?? (feature.low + feature.high) / 2));
  const point = made.map(({ field }) => field.valueAsNumber);
  const picture = new OffscreenCanvas(WIDTH, height);
  const scene = { model, canvas, picture, height, ends, across, up, point, palette, labels: [] };

  function move(values, write = true) {
    values.forEach((value, number) => {
      point[number] = value;
      if (write) made[number].field.value = short(value);
    });
    draw(scene);
    onRow(Float32Array.from(point));
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    const values = [0, 0];
    values[across] = mix(ends[across], (event.clientX - box.left) / box.width);
    values[up] = mix(ends[up], 1 - (event.clientY - box.top) / box.height);
    return values.map((value, number) => round(Math.min(Math.max(value, ends[number][0]), ends[number][1]), ends[number]));
  }

  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); move(at(event)); });
  canvas.addEventListener("pointermove", (event) => { if (canvas.hasPointerCapture(event.pointerId)) move(at(event)); });
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowUp: [up, 1], ArrowDown: [up, -1] };
    if (!(event.key in moves)) return;
    const [number, sign] = moves[event.key];
    const values = [...point];
    const step = (ends[number][1] - ends[number][0]) / (event.shiftKey ? 20 : 100);
    values[number] = round(Math.min(Math.max(values[number] + sign * step, ends[number][0]), ends[number][1]), ends[number]);
    event.preventDefault();
    move(values);
  });
  made.forEach(({ field }) => field.addEventListener("input", () => {
    if (made.every((each) => each.field.checkValidity())) move(made.map((each) => each.field.valueAsNumber), false);
  }));
  section.append(
    canvas,
    element("p", { className: "hint", id: "map-hint" },
      `Click on ${geographic ? "a place" : "a point"}, or move it with the arrow keys: ${features[across].name} grows to the right, ${features[up].name} upwards. Colours are what the model says, paler where it is less sure.`),
    element("div", { className: "fields" }, made.map(({ label }) => label)),
  );
  new ResizeObserver(() => draw(scene)).observe(canvas);
  move(point, false);
  return colour(scene).then(() => draw(scene));
}

function proportion(ends, across, up, geographic) {
  const [wide, high] = [across, up].map((number) => ends[number][1] - ends[number][0]);
  if (!geographic) return 0.75;
  // A degree of longitude is shorter away from the equator.
  const middle = (((ends[up][0] + ends[up][1]) / 2) * Math.PI) / 180;
  return Math.min(Math.max(high / (wide * Math.max(Math.cos(middle), 0.2)), 0.4), 1.2);
}

function mix([low, high], share) {
  return low + share * (high - low);
}

function round(value, [low, high]) {
  const digits = Math.max(Math.ceil(-Math.log10((high - low) / 1000)), 0);
  return Number(value.toFixed(digits));
}

async function colour(scene) {
  for (const step of [COARSE, FINE]) {
    const columns = Math.ceil(WIDTH / step);
    const lines = Math.ceil(scene.height / step);
    const cells = await say(scene, step, columns, lines);
    paint(scene, cells, step, columns, lines);
    if (step === FINE) scene.labels = place(scene, cells, step, columns, lines);
    draw(scene);
    // The page must stay alive between the two.
    await new Promise((resolve) => { setTimeout(resolve); });
  }
}

async function say({ model, height, ends, across, up }, step, columns, lines) {
  const cells = { best: new Int32Array(columns * lines), sure: new Float32Array(columns * lines) };
  for (let start = 0; start < columns * lines; start += ROWS) {
    const rows = Math.min(ROWS, columns * lines - start);
    const data = new Float32Array(2 * rows);
    for (let row = 0; row < rows; row += 1) {
      const x = ((start + row) % columns) + 0.5;
      const y = Math.floor((start + row) / columns) + 0.5;
      data[2 * row + across] = mix(ends[across], (x * step) / WIDTH);
      data[2 * row + up] = mix(ends[up], 1 - (y * step) / height);
    }
    const { outputs } = await model.predict(data, rows);
    model.byClass(outputs[0]).forEach((values, row) => {
      const best = highest(values);
      cells.best[start + row] = best;
      cells.sure[start + row] = values[best];
    });
    await new Promise((resolve) => { setTimeout(resolve); });
  }
  return cells;
}

function paint({ picture, palette }, { best, sure }, step, columns, lines) {
  const image = new ImageData(columns, lines);
  for (let cell = 0; cell < best.length; cell += 1) {
    const border = best[cell] !== best[cell + 1] && (cell + 1) % columns !== 0;
    const below = cell + columns < best.length && best[cell] !== best[cell + columns];
    const strength = 0.35 + 0.65 * Math.min(Math.max(sure[cell], 0), 1);
    const dark = step === FINE && (border || below) ? 0.72 : 1;
    palette[best[cell]].forEach((value, channel) => { image.data[4 * cell + channel] = (255 + (value - 255) * strength) * dark; });
    image.data[4 * cell + 3] = 255;
  }
  const small = new OffscreenCanvas(columns, lines);
  small.getContext("2d").putImageData(image, 0, 0);
  const context = picture.getContext("2d");
  context.imageSmoothingEnabled = step === FINE;
  context.drawImage(small, 0, 0, columns * step, lines * step);
}

// Finds a place for the name of each class: the cell farthest inside the largest area of the class.
function place({ model, height }, { best }, step, columns, lines) {
  const inside = new Int32Array(best.length);
  // Distance to the nearest other class or edge in steps along rows and columns, by one pass down and one up.
  for (let cell = 0; cell < best.length; cell += 1) {
    const [x, y] = [cell % columns, Math.floor(cell / columns)];
    const edge = x === 0 || y === 0 || x === columns - 1 || y === lines - 1;
    inside[cell] = edge || best[cell - 1] !== best[cell] || best[cell - columns] !== best[cell] ? 1 : Math.min(inside[cell - 1], inside[cell - columns]) + 1;
  }
  for (let cell = best.length - 1; cell >= 0; cell -= 1) {
    const [x, y] = [cell % columns, Math.floor(cell / columns)];
    if (x === columns - 1 || y === lines - 1 || best[cell + 1] !== best[cell] || best[cell + columns] !== best[cell]) inside[cell] = 1;
    else inside[cell] = Math.min(inside[cell], inside[cell + 1] + 1, inside[cell + columns] + 1);
  }
  const deepest = new Map();
  best.forEach((number, cell) => {
    if (!deepest.has(number) || inside[cell] > inside[deepest.get(number)]) deepest.set(number, cell);
  });
  return Array.from(deepest, ([number, cell]) => ({
    text: model.classes[number],
    room: inside[cell] * step,
    x: ((cell % columns) + 0.5) * step,
    y: Math.min((Math.floor(cell / columns) + 0.5) * step, height),
  })).sort((first, second) => second.room - first.room);
}

function draw({ canvas, picture, labels, point, ends, across, up, height }) {
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  // As large on a telephone as on a screen.
  const scale = WIDTH / (canvas.clientWidth || WIDTH);
  context.font = `600 ${13 * scale}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const taken = [];
  for (const label of labels) {
    const half = context.measureText(label.text).width / 2 + 4;
    const x = Math.min(Math.max(label.x, half), WIDTH - half);
    const free = taken.every((other) => Math.abs(other.x - x) > other.half + half || Math.abs(other.y - label.y) > 16 * scale);
    if (label.room < 12 * scale || !free) continue;
    taken.push({ x, y: label.y, half });
    context.strokeStyle = "rgb(255 255 255 / 80%)";
    context.lineWidth = 3.5 * scale;
    context.strokeText(label.text, x, label.y);
    context.fillStyle = "#16191d";
    context.fillText(label.text, x, label.y);
  }
  const x = ((point[across] - ends[across][0]) / (ends[across][1] - ends[across][0])) * WIDTH;
  const y = (1 - (point[up] - ends[up][0]) / (ends[up][1] - ends[up][0])) * height;
  context.beginPath();
  context.arc(x, y, 8 * scale, 0, 2 * Math.PI);
  context.lineWidth = 5.5 * scale;
  context.strokeStyle = "#fff";
  context.stroke();
  context.lineWidth = 2.5 * scale;
  context.strokeStyle = "#111";
  context.stroke();
}
