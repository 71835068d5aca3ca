"use strict";
// Codes: the map, the sliders, and the images between two codes.
lab.STRIP = 9;
lab.GRID = 20; // images on a side of the decoded plane
lab.REACH = 3; // standard deviations that a slider spans to either side

lab.exploreCodes = async () => {
  const $ = lab.$, answer = await lab.ask("codes"), { n, dim } = answer;
  const codes = lab.rows(lab.floats(answer.codes), dim), random = lab.rows(lab.floats(answer.random), dim);
  const mean = lab.floats(answer.mean), deviation = lab.floats(answer.deviation);
  const positions = lab.rows(lab.floats(answer.positions), 3).map((p) => [...p]);
  const directions = lab.rows(lab.floats(answer.directions), dim);
  let code = Float32Array.from(mean), ends = [codes[0], codes[Math.min(1, n - 1)]];

  const truncation = () => ($("#truncation") ? { truncation: Number($("#truncation").value) } : {});
  const decode = (list, columns) => lab.ask("decode", { codes: list.map((each) => [...each]), ...(columns ? { columns } : {}), ...truncation() });
  const show = lab.latest(async () => {
    lab.paint($("#decoded"), await decode([code]), 0);
  });

  const original = (index) => {
    $("#source").hidden = index === null || !answer.ofData;
    if (index !== null && answer.ofData) lab.paint($("#original"), answer.thumbnails, index);
  };

  const set = (next, index = null) => {
    code = Float32Array.from(next);
    original(index);
    setSliders();
    show();
  };

  // Sliders: how far a code lies from the mean along a direction, in standard deviations, or one of its numbers.
  let axes = [];
  const makeSliders = () => {
    const numbers = [...deviation.keys()].sort((i, j) => deviation[j] - deviation[i] || i - j).slice(0, 12);
    const unit = (i) => Float32Array.from({ length: dim }, (_, j) => (i === j ? 1 : 0));
    axes = $("#axes").value === "numbers"
      ? numbers.map((i) => ({ name: `z${i + 1}`, vector: unit(i), scale: 1, middle: mean[i], reach: lab.REACH * deviation[i] || 1 }))
      : directions.map((vector, k) => ({ name: `direction ${k + 1}`, vector, scale: answer.spread[k] || 1, middle: 0, reach: lab.REACH }));
    $("#sliders").replaceChildren(...axes.map((axis, k) => {
      const field = document.createElement("div"), label = document.createElement("label"), input = document.createElement("input");
      field.className = "field";
      Object.assign(label, { htmlFor: `slider-${k}`, textContent: axis.name });
      Object.assign(input, { id: `slider-${k}`, type: "range", min: axis.middle - axis.reach, max: axis.middle + axis.reach, step: "any" });
      axis.output = document.createElement("output");
      axis.output.htmlFor = input.id;
      axis.input = input;
      lab.on(input, "input", () => slide(axis, Number(input.value)));
      field.append(label, input, axis.output);
      return field;
    }));
    setSliders();
  };
  const along = (axis) => axis.vector.reduce((sum, v, j) => sum + v * (code[j] - mean[j]), 0) / axis.scale + axis.middle;
  const setSliders = () => axes.forEach((axis) => {
    const value = along(axis);
    axis.input.value = value;
    axis.output.value = value.toFixed(2);
  });
  const slide = (axis, value) => {
    const step = (value - along(axis)) * axis.scale;
    code = code.map((number, j) => number + step * axis.vector[j]);
    axis.output.value = value.toFixed(2);
    original(null);
    show();
  };

  // Between two codes, on a straight line or on a great circle.
  const between = (a, b, t, route) => {
    const dot = (x, y) => x.reduce((sum, v, j) => sum + v * y[j], 0);
    const cosine = dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1), angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
    const straight = route === "lerp" || Math.abs(Math.sin(angle)) < 1e-4;
    const [p, q] = straight ? [1 - t, t] : [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
    return Float32Array.from(a, (v, j) => p * v + q * b[j]);
  };
  const strip = lab.latest(async () => {
    const route = $("#route").value, list = Array.from({ length: lab.STRIP }, (_, i) => between(...ends, i / (lab.STRIP - 1), route));
    const sheet = await decode(list);
    lab.paint($("#strip"), sheet);
    lab.paint($("#image-a"), sheet, 0);
    lab.paint($("#image-b"), sheet, lab.STRIP - 1);
  });

  // The map.
  const classes = answer.labels && [...new Set(answer.labels)].sort((a, b) => a - b);
  const map = new lab.Map($("#map"), answer.labels, {
    picked: (index) => {
      set(codes[index], index);
      lab.status(`code ${index + 1} of ${n}${answer.labels ? `, class ${lab.name(answer.labels[index])}` : ""}`);
    },
    moved: (x, y) => set([x, y]),
  });
  if (classes) $("#legend").replaceChildren(...classes.slice(0, 20).map((each) => {
    const item = document.createElement("li"), mark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [key, value] of Object.entries({ cx: 5, cy: 5, r: 5, fill: lab.COLORS[each % lab.COLORS.length] })) dot.setAttribute(key, value);
    mark.setAttribute("viewBox", "0 0 10 10");
    mark.setAttribute("aria-hidden", "true");
    mark.append(dot);
    item.append(mark, lab.name(each));
    return item;
  }));
  const views = { ...(dim === 2 ? { plane: "plane of codes" } : {}), pca: "PCA in the plane", space: "PCA in space", ...(lab.alone ? {} : { tsne: "t-SNE" }) };
  if (dim < 3) delete views.space;
  if (!answer.ofData) { views.pca = "PCA of images, in the plane"; if (views.space) views.space = "PCA of images, in space"; delete views.tsne; }
  $("#view").replaceChildren(...Object.entries(views).map(([value, text]) => new Option(text, value)));
  const HELP = {
    plane: "Move the pointer over the plane, or use the arrow keys: the code there is decoded.",
    pca: "Click a point, or move with the arrow keys: its code is decoded.",
    space: "Drag to turn, or use the arrow keys; click a point: its code is decoded.",
    tsne: "Click a point, or move with the arrow keys: its code is decoded.",
  };
  let plane = null, places = null;
  const view = lab.latest(async () => {
    const chosen = $("#view").value;
    $("#map-help").textContent = HELP[chosen];
    $("#points").parentElement.hidden = chosen !== "plane";
    if (chosen === "plane") {
      plane ??= await decodedPlane();
      map.show(codes.map((each) => [...each, 0]), plane);
    } else if (chosen === "tsne") {
      if (!places) lab.status("computing t-SNE …");
      places ??= lab.rows(lab.floats((await lab.ask("tsne")).positions), 3).map((p) => [...p]);
      lab.status("");
      map.show(places);
    } else map.show(positions, { space: chosen === "space" });
  });
  const decodedPlane = async () => {
    const half = Math.max(...[0, 1].map((j) => lab.REACH * (deviation[j] || 1)));
    const window = [mean[0] - half, mean[0] + half, mean[1] - half, mean[1] + half], size = lab.GRID;
    const at = (i) => (i + 0.5) / size * 2 * half - half;
    const list = Array.from({ length: size * size }, (_, i) => [mean[0] + at(i % size), mean[1] - at(Math.floor(i / size))]);
    return { plane: window, background: await decode(list, size) };
  };

  lab.on($("#view"), "change", view);
  lab.on($("#points"), "change", () => { map.shown = $("#points").checked; map.draw(); });
  lab.on($("#axes"), "change", makeSliders);
  lab.on($("#route"), "change", strip);
  lab.on($("#random"), "click", () => { map.chosen = null; map.draw(); set(random[Math.floor(Math.random() * random.length)]); });
  lab.on($("#reset"), "click", () => { map.chosen = null; map.draw(); set(mean); });
  lab.on($("#set-a"), "click", () => { ends = [code, ends[1]]; strip(); });
  lab.on($("#set-b"), "click", () => { ends = [ends[0], code]; strip(); });
  lab.on($("#between"), "input", () => set(between(...ends, Number($("#between").value), $("#route").value)));
  if ($("#truncation")) lab.on($("#truncation"), "input", () => { show(); strip(); });
  lab.explore = (next) => { set(next); $("#codes").scrollIntoView({ block: "start" }); };

  if (dim <= 3) $("#axes").value = "numbers";
  makeSliders();
  await show();
  await Promise.all([view(), strip()]);
};

lab.name = (label) => lab.run.names?.[label] ?? String(label);
