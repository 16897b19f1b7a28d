// Puts the page together: the input that suits the model, its answer, and what is known about it.

import { clearAnswer, showAnswer } from "./answers.js";
import { createPictures } from "./draw.js";
import { colours, element, percent, short } from "./elements.js";
import { createFields } from "./fields.js";
import { Model } from "./model.js";
import { createPlane, isPlane } from "./plane.js";

const state = document.querySelector("#state");

async function start() {
  let model;
  try {
    model = await Model.load();
  } catch (error) {
    fail(error);
    return;
  }
  describe(model.facts);
  const section = document.querySelector("#input");
  const { preprocessing } = model.facts;
  const panels = document.querySelector("#panels");
  let palette = null;
  let asked = 0;

  async function ask(arrays) {
    asked += 1;
    const mine = asked;
    try {
      const found = await model.run(arrays, 1);
      // Only the answer to the last question counts.
      if (mine === asked) showAnswer(model, found, palette);
      showRequest(model, arrays);
    } catch (error) {
      clearAnswer("");
      document.querySelector("#details").replaceChildren(element("p", { className: "error" }, `The model does not take this: ${error.message}`));
    }
  }

  panels.hidden = false;
  if (preprocessing.image?.range) {
    document.querySelector("#input-heading").textContent = preprocessing.image.channels === 1 ? "Draw" : "A picture";
    const empty = () => { asked += 1; clearAnswer("Nothing yet"); };
    createPictures(model, section, (row) => ask([{ data: row, shape: pictureShape(model, row) }]), empty);
    empty();
  } else if (isPlane(model.facts)) {
    document.querySelector("#input-heading").textContent = "Where?";
    panels.classList.add("wide");
    palette = colours(model.classes.length);
    await createPlane(model, section, palette, (row) => ask([{ data: row, shape: [2] }]));
  } else {
    clearAnswer("Nothing yet");
    createFields(model, section, ask);
  }
  state.hidden = true;
  document.documentElement.dataset.ready = "true";
}

function pictureShape(model, row) {
  const [, height, width, channels] = model.facts.inputs[0].shape;
  if (height !== null && width !== null) return [height, width, channels];
  const seen = document.querySelector("canvas.pixelated");
  return [seen.height, row.length / channels / seen.height, channels];
}

function describe(facts) {
  document.title = facts.title;
  document.querySelector("#title").textContent = facts.title;
  document.querySelector("#what").textContent = facts.question;
  const evaluation = facts.figures.evaluation;
  const accuracy = evaluation?.test?.accuracy;
  const range = accuracy && accuracy.low !== null ? ` (${percent(accuracy.low)} to ${percent(accuracy.high)} over ${evaluation.repeats} repeats)` : "";
  const known = [
    ["Accuracy on test rows", accuracy ? percent(accuracy.mean) + range : null],
    ["Trained on", facts.data.source ? `${facts.data.source}${facts.data.licence ? `, ${facts.data.licence}` : ""}` : null],
    ["Classes", facts.classes.length ? facts.classes.join(", ") : null],
    ["Size", `${facts.model.bytes < 1e5 ? `${facts.model.bytes} bytes` : `${(facts.model.bytes / 1e6).toFixed(1)} MB`}, ${facts.model.nodes} nodes`],
    ["Differs from Keras by", facts.checks?.max_abs_diff === undefined ? null : `at most ${short(facts.checks.max_abs_diff)}`],
  ];
  document.querySelector("#about").replaceChildren(
    ...known.filter(([, value]) => value).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  document.querySelector("#facts").hidden = false;
}

function showRequest(model, arrays) {
  const nested = (data, shape) => (shape.length <= 1 ? Array.from(data, Number) : Array.from({ length: shape[0] }, (_, index) => {
    const size = data.length / shape[0];
    return nested(data.slice(index * size, (index + 1) * size), shape.slice(1));
  }));
  const rows = arrays.map(({ data, shape }) => [nested(data, shape)]);
  const { inputs } = model.facts;
  const body = inputs.length === 1 ? { rows: rows[0] } : { inputs: Object.fromEntries(inputs.map((input, number) => [input.name, rows[number]])) };
  document.querySelector("#request").hidden = false;
  document.querySelector("#body").textContent = JSON.stringify(body);
  document.querySelector("#curl").textContent = "curl -H 'Content-Type: application/json' -d @body.json http://127.0.0.1:8000/predict";
}

document.querySelector("#copy").addEventListener("click", async (event) => {
  await navigator.clipboard.writeText(document.querySelector("#body").textContent);
  event.target.textContent = "Copied";
  setTimeout(() => { event.target.textContent = "Copy"; }, 1500);
});

function fail(error) {
  state.classList.add("failed");
  state.textContent = error.message;
  console.error(error);
}

start().catch(fail);
