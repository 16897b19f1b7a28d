// Copies the two files of onnxruntime-web that the page loads, and their licence, into ort/.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";

const source = new URL("./node_modules/onnxruntime-web/", import.meta.url);
const target = new URL("./ort/", import.meta.url);
const { version, license } = JSON.parse(readFileSync(new URL("package.json", source), "utf8"));

mkdirSync(target, { recursive: true });
for (const name of ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"]) {
  copyFileSync(new URL(`dist/${name}`, source), new URL(name, target));
}
writeFileSync(new URL("VERSION", target), `onnxruntime-web ${version}, ${license}, https://github.com/microsoft/onnxruntime\n`);
console.log(`onnxruntime-web ${version} is in ort/; node_modules/ is no longer needed`);
