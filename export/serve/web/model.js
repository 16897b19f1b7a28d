// Loads the model and what is known about it, and runs it.

const RUNTIME = new URL("./ort/", import.meta.url);

export class Model {
  constructor(facts, ort, session) {
    this.facts = facts;
    this.ort = ort;
    this.session = session;
    this.waiting = Promise.resolve();
  }

  static async load() {
    const facts = await json("model.json");
    let ort;
    try {
      ort = await import(new URL("ort.wasm.bundle.min.mjs", RUNTIME).href);
    } catch (error) {
      throw new Error(
        "The runtime is not in the folder ort/ yet. Run npm install in the folder of this page, then load it again (README.md says more).",
        { cause: error },
      );
    }
    // The loader of the bundle is part of it; only the WebAssembly lies beside.
    ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", RUNTIME).href };
    // Several threads need headers that a plain web server does not send.
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(await bytes("model.onnx"), { executionProviders: ["wasm"] });
    return new Model(facts, ort, session);
  }

  get classes() {
    const width = this.facts.outputs[0].shape.at(-1);
    const count = width === 1 ? 2 : width ?? this.facts.classes.length;
    return this.facts.classes.length ? this.facts.classes : Array.from({ length: count }, (_, number) => String(number));
  }

  // Runs one array of numbers for each input, in the order of the file; answers come in the order of the questions.
  run(arrays, rows) {
    const next = this.waiting.then(() => this.runNow(arrays, rows));
    this.waiting = next.catch(() => {});
    return next;
  }

  async runNow(arrays, rows) {
    const feeds = {};
    this.facts.inputs.forEach((input, number) => {
      const { data, shape } = arrays[number];
      feeds[input.name] = new this.ort.Tensor(input.dtype, typed(input.dtype, data), [rows, ...shape]);
    });
    const started = performance.now();
    const found = await this.session.run(feeds);
    const outputs = this.facts.outputs.map((output) => {
      const { data, dims } = found[output.name];
      const values = { data: output.dtype === "int64" ? Array.from(data, Number) : data.slice(), shape: [...dims] };
      found[output.name].dispose?.();
      return values;
    });
    return { outputs, milliseconds: performance.now() - started };
  }

  // Runs rows of features of a table or of images through a model with one input.
  async predict(data, rows) {
    const [, ...shape] = this.facts.inputs[0].shape;
    const open = shape.indexOf(null);
    if (open >= 0) shape[open] = data.length / rows / shape.reduce((product, size) => product * (size ?? 1), 1);
    if (this.facts.inputs[0].shape[0] === null) return this.run([{ data, shape }], rows);
    // The file takes one row at a time.
    const width = data.length / rows;
    const singles = [];
    for (let row = 0; row < rows; row += 1) singles.push(await this.run([{ data: data.slice(row * width, (row + 1) * width), shape }], 1));
    const outputs = singles[0].outputs.map((output, number) => ({
      data: singles.flatMap((single) => Array.from(single.outputs[number].data)),
      shape: [rows, ...output.shape.slice(1)],
    }));
    return { outputs, milliseconds: singles.reduce((sum, single) => sum + single.milliseconds, 0) };
  }

  // One list of values for each row, one value for each class.
  byClass(output) {
    const rows = output.shape[0];
    const width = output.data.length / rows;
    const lists = Array.from({ length: rows }, (_, row) => output.data.slice(row * width, (row + 1) * width));
    const single = width === 1 && this.facts.outputs[0].meaning === "probabilities";
    return single ? lists.map(([value]) => [1 - value, value]) : lists;
  }
}

export function highest(values) {
  let best = 0;
  for (let index = 1; index < values.length; index += 1) if (values[index] > values[best]) best = index;
  return best;
}

function typed(dtype, data) {
  if (dtype === "int64") return BigInt64Array.from(data, (value) => BigInt(value));
  const kinds = { float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array };
  if (!kinds[dtype]) throw new Error(`This page has no arrays of type ${dtype}.`);
  return kinds[dtype].from(data);
}

async function json(name) {
  return (await fetched(name)).json();
}

async function bytes(name) {
  return new Uint8Array(await (await fetched(name)).arrayBuffer());
}

async function fetched(name) {
  const response = await fetch(new URL(name, import.meta.url)).catch(() => null);
  if (!response?.ok) throw new Error(`${name} cannot be loaded. Open this page through a web server (README.md says how).`);
  return response;
}
