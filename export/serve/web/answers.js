// Shows what the model says.

import { colours, element, percent, short } from "./elements.js";
import { highest } from "./model.js";

const SHOWN = 6;

export function showAnswer(model, { outputs, milliseconds }, palette = null) {
  const kind = model.facts.answer;
  if (kind === "classes") showClasses(model, outputs[0], palette);
  else if (kind === "masks") showMask(model, outputs[0]);
  else showValues(model, outputs);
  document.querySelector("#time").textContent = `${milliseconds < 1 ? milliseconds.toFixed(2) : milliseconds.toFixed(1)} ms in this browser`;
}

export function clearAnswer(text) {
  document.querySelector("#best").textContent = text;
  document.querySelector("#details").replaceChildren();
  document.querySelector("#time").textContent = "";
}

function showClasses(model, output, palette) {
  const [values] = model.byClass(output);
  const probable = model.facts.outputs[0].meaning === "probabilities";
  const write = probable ? percent : short;
  const best = highest(values);
  document.querySelector("#best").replaceChildren(model.classes[best], " ", element("small", {}, write(values[best])));
  const order = Array.from(values.keys()).sort((first, second) => values[second] - values[first]).slice(0, SHOWN);
  const rows = order.map((number) =>
    element("tr", {},
      element("th", { scope: "row" }, named(model.classes[number], palette?.[number])),
      probable ? element("td", { className: "share" }, meter(values[number], model.classes[number])) : null,
      element("td", { className: "number" }, write(values[number]))));
  const left = model.classes.length - order.length;
  const caption = `The most probable ${left > 0 ? `of ${model.classes.length} classes` : "first"}`;
  const words = probable ? caption : `Scores, the highest ${left > 0 ? `of ${model.classes.length}` : "first"}`;
  document.querySelector("#details").replaceChildren(element("table", {}, element("caption", {}, words), element("tbody", {}, rows)));
}

function meter(value, name) {
  return element("meter", { min: 0, max: 1, value, "aria-label": name });
}

function named(name, colour) {
  return element("span", { className: "name" }, colour ? swatch(colour) : null, element("span", {}, name));
}

function swatch(colour) {
  const made = element("span", { className: "swatch", "aria-hidden": "true" });
  made.style.background = `rgb(${colour.join(" ")})`;
  return made;
}

function showMask(model, output) {
  const [, height, width, depth] = output.shape;
  const count = Math.max(depth, 2);
  const palette = [[0, 0, 0], ...colours(count - 1)];
  const canvas = element("canvas", { className: "result", width, height, role: "img" });
  const picture = new ImageData(width, height);
  const pixels = new Array(count).fill(0);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    const values = output.data.slice(pixel * depth, (pixel + 1) * depth);
    const number = depth === 1 ? Number(values[0] > 0.5) : highest(values);
    pixels[number] += 1;
    picture.data.set([...palette[number], 255], 4 * pixel);
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
  const order = Array.from(pixels.keys()).sort((first, second) => pixels[second] - pixels[first]).filter((number) => pixels[number] > 0);
  const name = (number) => model.facts.classes[number] ?? String(number);
  const shares = order.map((number) => `${name(number)} ${percent(pixels[number] / (width * height))}`);
  canvas.setAttribute("aria-label", `Class of each pixel: ${shares.join(", ")}`);
  document.querySelector("#best").replaceChildren(`Mostly ${name(order[0])}`);
  const rows = order.map((number) =>
    element("tr", {}, element("th", { scope: "row" }, named(name(number), palette[number])),
      element("td", { className: "number" }, percent(pixels[number] / (width * height)))));
  document.querySelector("#details").replaceChildren(canvas, element("table", {}, element("caption", {}, "Part of the pixels"), element("tbody", {}, rows)));
}

function showValues(model, outputs) {
  document.querySelector("#best").textContent = "";
  const rows = model.facts.outputs.map((output, number) =>
    element("tr", {}, element("th", { scope: "row" }, output.name),
      element("td", {}, Array.from(outputs[number].data.slice(0, 60), short).join(", ") + (outputs[number].data.length > 60 ? " …" : ""))));
  document.querySelector("#details").replaceChildren(element("table", {}, element("caption", {}, "Outputs of the model"), element("tbody", {}, rows)));
}
