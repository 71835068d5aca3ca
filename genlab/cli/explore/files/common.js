"use strict";
// Shared by the parts of the page. A sheet is many images in one: {image, n, columns, width, height}.
lab.$ = (selector, within = document) => within.querySelector(selector);

lab.status = (text, failed = false) => {
  const line = lab.$("#status");
  line.textContent = text;
  line.classList.toggle("error", failed);
};

// Loads the PNG of a sheet, in the reply itself or as its `thumbnails`.
lab.loaded = async (answer) => {
  for (const sheet of [answer, answer.thumbnails]) {
    if (!sheet?.png) continue;
    sheet.image = new Image();
    sheet.image.src = `data:image/png;base64,${sheet.png}`;
    await sheet.image.decode();
  }
  return answer;
};

// Runs `work` for the newest call only, one at a time: a slider moves faster than a model answers.
lab.latest = (work) => {
  let busy = false, waiting = null;
  return async (...values) => {
    if (busy) { waiting = values; return; }
    busy = true;
    for (let next = values; next; ) {
      waiting = null;
      try {
        await work(...next);
        if (lab.$("#status").classList.contains("error")) lab.status("");
      } catch (error) {
        lab.status(error.message, true);
      }
      next = waiting;
    }
    busy = false;
  };
};

// Image number `index` of a sheet, or all of it with gaps, fills a canvas of as many pixels.
lab.paint = (canvas, { image, n, columns, width, height }, index = null) => {
  const shown = index === null ? [...Array(n).keys()] : [index], across = Math.min(columns, shown.length);
  const gap = shown.length > 1 ? Math.ceil(width / 16) : 0;
  canvas.width = across * (width + gap) - gap;
  canvas.height = Math.ceil(shown.length / across) * (height + gap) - gap;
  const context = canvas.getContext("2d");
  shown.forEach((i, k) => {
    const [left, top] = [(k % across) * (width + gap), Math.floor(k / across) * (height + gap)];
    context.drawImage(image, (i % columns) * width, Math.floor(i / columns) * height, width, height, left, top, width, height);
  });
  document.documentElement.dataset.first ??= performance.now(); // milliseconds until the first image
};

lab.floats = (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
};

// Rows of equal length of a flat array.
lab.rows = (flat, length) => Array.from({ length: flat.length / length }, (_, i) => flat.subarray(i * length, (i + 1) * length));

lab.on = (target, events, handler) => events.split(" ").forEach((event) => target.addEventListener(event, handler));

// A slider shows its value in the <output> after it.
document.addEventListener("input", ({ target }) => {
  if (target.type === "range" && target.nextElementSibling?.tagName === "OUTPUT") target.nextElementSibling.value = target.value;
});

document.addEventListener("click", ({ target }) => {
  if (target.matches("button.next")) {
    const field = document.getElementById(target.dataset.for);
    field.value = Number(field.value) + 1;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  } else if (target.matches("fieldset.classes button")) {
    for (const each of target.parentElement.children) if (each.tagName === "BUTTON") each.setAttribute("aria-pressed", each === target);
    target.dispatchEvent(new Event("input", { bubbles: true }));
  }
});

// The options of a form that are not at their default "".
lab.options = (section) => {
  const found = {};
  for (const field of section.querySelectorAll("[data-name]")) {
    const pressed = field.tagName === "FIELDSET" ? lab.$("[aria-pressed=true]", field).dataset.value : field.value;
    if (pressed === "") continue;
    found[field.dataset.name] = field.tagName === "SELECT" ? pressed : Number(pressed);
  }
  for (const [name, value] of Object.entries(found)) if (value === "true" || value === "false") found[name] = value === "true";
  return found;
};
