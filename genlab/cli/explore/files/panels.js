"use strict";
// Drawing, translation, samples, style mixing and the path from noise; then the start of the page.

// A canvas to draw on; `changed` is called after each stroke and, at most as often as it answers, during one.
lab.paper = (section, { brush, color, changed, example }) => {
  const canvas = lab.$(".paper", section), context = canvas.getContext("2d", { willReadFrequently: true });
  const blank = () => { context.fillStyle = "#000000"; context.fillRect(0, 0, canvas.width, canvas.height); };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
  };
  let last = null;
  const stroke = (event) => {
    const [x, y] = at(event);
    Object.assign(context, { lineWidth: brush(), lineCap: "round", lineJoin: "round", strokeStyle: color() });
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(x, y + 0.01);
    context.stroke();
    last = [x, y];
    changed();
  };
  lab.on(canvas, "pointerdown", (event) => {
    if (canvas.picking) { canvas.picking(context.getImageData(...at(event).map(Math.floor), 1, 1).data); return; }
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
    stroke(event);
  });
  lab.on(canvas, "pointermove", (event) => last && stroke(event));
  lab.on(canvas, "pointerup pointercancel", () => { last = null; changed(); });
  lab.on(lab.$(".clear", section), "click", () => { blank(); changed(); });
  let index = 0;
  const fill = lab.latest(async () => {
    const answer = await lab.ask("example", { index: index++, column: example() });
    context.drawImage(answer.image, 0, 0, canvas.width, canvas.height);
    canvas.dispatchEvent(new CustomEvent("filled", { detail: answer.label }));
    changed();
  });
  lab.on(lab.$(".example", section), "click", fill);
  blank();
  return { canvas, fill, pixels: () => context.getImageData(0, 0, canvas.width, canvas.height).data };
};

// RGBA bytes as the model's values: channel by channel.
lab.values = (data, channels) => Array.from({ length: channels }, (_, c) => Array.from({ length: data.length / 4 }, (_, i) => data[4 * i + c])).flat();

// Moves gray values (H x W) so that their center of mass is the middle, as the digits of MNIST are.
lab.centered = (values, height, width) => {
  let [total, row, column] = [0, 0, 0];
  values.forEach((v, i) => { total += v; row += v * Math.floor(i / width); column += v * (i % width); });
  if (!total) return values;
  const [down, right] = [Math.round((height - 1) / 2 - row / total), Math.round((width - 1) / 2 - column / total)];
  return values.map((_, i) => {
    const [y, x] = [Math.floor(i / width) - down, (i % width) - right];
    return y >= 0 && y < height && x >= 0 && x < width ? values[y * width + x] : 0;
  });
};

lab.draw = () => {
  const $ = lab.$, section = $("#draw"), [, height, width] = lab.run.shape;
  let code = null, filled = false;
  const reconstruct = lab.latest(async () => {
    let pixels = lab.values(paper.pixels(), 1);
    if ($("#center").checked && !filled) pixels = lab.centered(pixels, height, width);
    const seen = $("#seen"), context = seen.getContext("2d");
    Object.assign(seen, { width, height });
    context.putImageData(new ImageData(Uint8ClampedArray.from(pixels.flatMap((v) => [v, v, v, 255])), width, height), 0, 0);
    const label = $("#draw-label") ? { label: Number($("#draw-label").value) } : {};
    const answer = await lab.ask("draw", { pixels, ...label });
    lab.paint($("#redrawn"), answer, 0);
    code = answer.code ? lab.floats(answer.code) : null;
    if (code) $("#code").textContent = `code: ${[...code.subarray(0, 32)].map((v) => v.toFixed(2)).join("  ")}${code.length > 32 ? " …" : ""}`;
  });
  const paper = lab.paper(section, {
    brush: () => Math.max(1, width / 12), color: () => "#ffffff", example: () => "image",
    changed: () => reconstruct(),
  });
  lab.on(paper.canvas, "pointerdown", () => { filled = false; });
  lab.on(paper.canvas, "filled", ({ detail }) => {
    filled = true;
    if ($("#draw-label") && detail !== null) $("#draw-label").value = detail;
  });
  lab.on($("#center"), "change", reconstruct);
  if ($("#draw-label")) lab.on($("#draw-label"), "change", reconstruct);
  if ($("#follow")) lab.on($("#follow"), "click", () => code && lab.explore(code));
  return paper.fill();
};

lab.translate = () => {
  const $ = lab.$, section = $("#translate"), [channels] = lab.run.shape;
  const from = () => $("#direction")?.value ?? "a";
  const translate = lab.latest(async () => {
    const answer = await lab.ask("translate", { pixels: lab.values(paper.pixels(), channels), back: from() === "b" });
    lab.paint($("#translated"), answer, 0);
  });
  const paper = lab.paper(section, { brush: () => Number($("#brush").value), color: () => $("#color").value, example: from, changed: () => translate() });
  const pick = $("#pick");
  lab.on(pick, "click", () => {
    pick.setAttribute("aria-pressed", "true");
    paper.canvas.picking = (pixel) => {
      $("#color").value = `#${[...pixel].slice(0, 3).map((v) => v.toString(16).padStart(2, "0")).join("")}`;
      paper.canvas.picking = null;
      pick.removeAttribute("aria-pressed");
    };
  });
  if ($("#direction")) lab.on($("#direction"), "change", paper.fill);
  return paper.fill();
};

// A section with a form: `work(section)` runs at once and whenever something in the form changes.
lab.form = (id, work) => {
  const section = lab.$(`#${id}`);
  if (!section) return null;
  const run = lab.latest(() => work(section));
  lab.on(section, "input", () => run());
  return run();
};

lab.start = async () => {
  await lab.ready;
  const $ = lab.$, number = (id) => Number($(id).value);
  if ($("#codes")) await lab.exploreCodes();
  if ($("#draw")) await lab.draw();
  if ($("#translate")) await lab.translate();
  await lab.form("mix", async () => {
    const request = { first: number("#mix-a"), second: number("#mix-b"), layers: number("#mix-layers"), truncation: number("#mix-truncation") };
    const sheet = await lab.ask("mix", request);
    ["#mix-first", "#mix-second", "#mixed"].forEach((id, i) => lab.paint($(id), sheet, i));
  });
  await lab.form("sample", async (section) => {
    const sheet = await lab.ask("sample", { n: number("#sample-n"), seed: number("#sample-seed"), options: lab.options(section) });
    lab.paint($(".result", section), sheet);
  });
  await lab.form("path", async (section) => {
    const sheet = await lab.ask("path", { seed: number("#path-seed"), options: lab.options(section) });
    lab.paint($(".result", section), sheet);
  });
  if (!$("#status").classList.contains("error")) lab.status("ready");
  document.documentElement.dataset.ready = "true";
};
lab.start().catch((error) => lab.status(error.message, true));
