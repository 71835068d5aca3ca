"use strict";
// Answers the requests of a page without a server: onnxruntime-web runs the model inside this file.
const lab = { run: JSON.parse(document.getElementById("run").textContent), alone: true };

lab.data = (name) => JSON.parse(document.getElementById(`data-${name}`).textContent);

lab.unpacked = async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
};

lab.ready = (async () => {
  const runtime = lab.data("runtime"), [script, wasm, model] = await Promise.all([runtime.script, runtime.wasm, lab.data("model")].map(lab.unpacked));
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  lab.ort = await import(address);
  URL.revokeObjectURL(address);
  Object.assign(lab.ort.env.wasm, { wasmBinary: wasm, numThreads: 1, proxy: false });
  lab.session = await lab.ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
})();

// Images, arrays of C x H x W numbers in [0, 1], as a sheet of `columns`.
lab.sheet = (images, columns = images.length) => {
  const [channels, height, width] = lab.run.shape, n = images.length, size = height * width;
  const image = Object.assign(document.createElement("canvas"), { width: columns * width, height: Math.ceil(n / columns) * height });
  const context = image.getContext("2d");
  images.forEach((values, k) => {
    const pixels = new ImageData(width, height);
    for (let i = 0; i < size; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round(255 * values[(channels === 3 ? c : 0) * size + i]);
      pixels.data[4 * i + 3] = 255;
    }
    context.putImageData(pixels, (k % columns) * width, Math.floor(k / columns) * height);
  });
  return { image, n, columns, width, height };
};

lab.tensor = (values, ...dims) => new lab.ort.Tensor("float32", Float32Array.from(values), dims);

lab.answers = {
  codes: async () => lab.loaded(lab.data("codes")),
  decode: async ({ codes, truncation = 1, columns }) => {
    const more = lab.session.inputNames.includes("truncation") ? { truncation: lab.tensor([truncation], 1) } : {}, images = [];
    for (const code of codes) images.push((await lab.session.run({ code: lab.tensor(code, 1, code.length), ...more })).image.data);
    return lab.sheet(images, columns);
  },
};
lab.ask = (action, request = {}) => lab.answers[action](request);
