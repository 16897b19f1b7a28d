// Takes numbers: a field for each feature, or JSON where there are too many or several inputs.

import { element, short } from "./elements.js";

const MOST_FIELDS = 40;

export function createFields(model, section, onArrays) {
  const [input, ...others] = model.facts.inputs;
  const [, width] = input.shape;
  if (others.length || input.shape.length !== 2 || width === null || width > MOST_FIELDS) createText(model, section, onArrays);
  else createForm(model, section, width, onArrays);
}

export function numberField(feature, id, value) {
  const known = feature.low !== undefined;
  const field = element("input", { type: "number", step: "any", required: true, id, name: feature.name, value: short(value), autocomplete: "off" });
  const hint = known ? element("small", { id: `${id}-hint` }, `${short(feature.low)} to ${short(feature.high)} in a test sample`) : null;
  if (known) field.setAttribute("aria-describedby", `${id}-hint`);
  return { field, label: element("label", { htmlFor: id }, feature.name, field, hint) };
}

function createForm(model, section, width, onArrays) {
  const features = Array.from({ length: width }, (_, number) => model.facts.features[number] ?? { name: `value ${number + 1}` });
  const made = features.map((feature, number) => numberField(feature, `field-${number}`, feature.mean ?? 0));
  const form = element("form", { noValidate: false },
    element("div", { className: "fields" }, made.map(({ label }) => label)),
    element("button", { type: "submit", className: "main" }, "Predict"));
  const read = () => onArrays([{ data: made.map(({ field }) => field.valueAsNumber), shape: [width] }]);
  form.addEventListener("submit", (event) => { event.preventDefault(); read(); });
  form.addEventListener("input", () => { if (form.checkValidity()) read(); });
  section.append(form);
  read();
}

function createText(model, section, onArrays) {
  const { inputs } = model.facts;
  const zeros = (shape) => (shape.length ? Array.from({ length: shape[0] ?? 1 }, () => zeros(shape.slice(1))) : 0);
  const rows = inputs.map((input) => zeros(input.shape.slice(1)));
  const start = inputs.length === 1 ? rows[0] : Object.fromEntries(inputs.map((input, number) => [input.name, rows[number]]));
  const area = element("textarea", { id: "json", value: JSON.stringify(start), spellcheck: false });
  const problem = element("p", { className: "error", role: "alert" });
  const form = element("form", {},
    element("p", { className: "hint" }, inputs.map((input) => `${input.name}: shape (${input.shape.slice(1).map((size) => size ?? "any").join(", ")})`).join("; ")),
    element("label", { htmlFor: "json" }, inputs.length === 1 ? "One row as JSON" : "One row of each input as JSON"),
    area, problem,
    element("div", { className: "row" }, element("button", { type: "submit", className: "main" }, "Predict")));
  const read = () => {
    try {
      const given = JSON.parse(area.value);
      const arrays = inputs.map((input) => flat(inputs.length === 1 ? given : given?.[input.name], input));
      problem.textContent = "";
      area.setAttribute("aria-invalid", "false");
      onArrays(arrays);
    } catch (error) {
      problem.textContent = error instanceof SyntaxError ? `This is not JSON: ${error.message}` : error.message;
      area.setAttribute("aria-invalid", "true");
    }
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); read(); });
  section.append(form);
}

function flat(value, input) {
  const shape = [];
  for (let inner = value; Array.isArray(inner); [inner] = inner) shape.push(inner.length);
  const wanted = input.shape.slice(1);
  const data = Array.isArray(value) ? value.flat(Infinity) : [value];
  const fits = shape.length === wanted.length && wanted.every((size, axis) => size === null || size === shape[axis]);
  if (!fits || data.length !== shape.reduce((product, size) => product * size, 1)) {
    throw new Error(`${input.name} needs the shape (${wanted.map((size) => size ?? "any").join(", ")}).`);
  }
  const whole = input.dtype.includes("int");
  if (!data.every((each) => Number.isFinite(each) && (!whole || Number.isInteger(each)))) {
    throw new Error(`${input.name} takes ${whole ? "whole " : ""}numbers alone.`);
  }
  return { data, shape };
}
