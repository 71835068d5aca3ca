"use strict";
// The map of codes: points in the plane or in space, or the plane of codes of two numbers with its decoded images.
lab.COLORS = ["#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777"];

lab.Map = class {
  // `picked(index)`: a point was chosen; `moved(x, y)`: a place of the plane was.
  constructor(canvas, labels, { picked, moved }) {
    Object.assign(this, { canvas, labels, picked, moved, plane: false, space: false, shown: true, background: null });
    Object.assign(this, { turn: [0.5, 0.35], cursor: [0, 0], chosen: null, drag: null });
    lab.on(canvas, "pointerdown", (event) => this.press(event));
    lab.on(canvas, "pointermove", (event) => this.move(event));
    lab.on(canvas, "pointerup pointercancel", (event) => this.release(event));
    lab.on(canvas, "keydown", (event) => this.key(event));
    lab.on(canvas, "focus blur", () => this.draw());
  }

  // positions (n x 3); `plane`: [low x, high x, low y, high y] of the codes themselves, else null.
  show(positions, { space = false, plane = null, background = null } = {}) {
    const range = (axis) => positions.reduce(([low, high], p) => [Math.min(low, p[axis]), Math.max(high, p[axis])], [Infinity, -Infinity]);
    const sides = [0, 1, 2].map(range), middles = sides.map(([low, high]) => (low + high) / 2);
    const half = Math.max(...sides.map(([low, high]) => (high - low) / 2)) || 1;
    this.window = plane ?? [middles[0] - 1.06 * half, middles[0] + 1.06 * half, middles[1] - 1.06 * half, middles[1] + 1.06 * half];
    Object.assign(this, { positions, space, plane: plane !== null, background, middles, half });
    this.cursor = [(this.window[0] + this.window[1]) / 2, (this.window[2] + this.window[3]) / 2];
    this.draw();
  }

  // The places (x, y, depth) of all points on the canvas.
  places() {
    const { width, height } = this.canvas, [left, right, low, high] = this.window;
    const [a, b] = this.turn, [ca, sa, cb, sb] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b)];
    return this.positions.map((p) => {
      if (!this.space) return [((p[0] - left) / (right - left)) * width, ((high - p[1]) / (high - low)) * height, 0];
      const [x, y, z] = p.map((value, axis) => (value - this.middles[axis]) / this.half);
      const [u, w] = [ca * x + sa * z, -sa * x + ca * z];
      const [v, depth] = [cb * y - sb * w, sb * y + cb * w];
      return [width / 2 * (1 + 0.62 * u), height / 2 * (1 - 0.62 * v), depth];
    });
  }

  draw() {
    const context = this.canvas.getContext("2d"), { width, height } = this.canvas;
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, width, height);
    if (this.background) {
      context.imageSmoothingEnabled = false;
      context.drawImage(this.background.image, 0, 0, width, height);
    }
    if (this.shown || !this.plane) this.dots(context);
    if (!this.space && (this.plane || document.activeElement === this.canvas)) this.cross(context);
  }

  dots(context) {
    const places = this.places(), order = places.map((_, i) => i);
    if (this.space) order.sort((i, j) => places[j][2] - places[i][2]);
    for (const i of order) {
      const [x, y, depth] = places[i], radius = this.space ? 4.5 - 1.2 * depth : 4;
      context.beginPath();
      context.arc(x, y, Math.max(2, radius), 0, 7);
      context.globalAlpha = this.plane ? 0.85 : this.space ? 0.9 - 0.25 * depth : 0.75;
      context.fillStyle = this.labels ? lab.COLORS[this.labels[i] % lab.COLORS.length] : "#4477aa";
      context.fill();
      if (this.plane) { context.lineWidth = 1; context.strokeStyle = "#ffffff"; context.stroke(); }
    }
    context.globalAlpha = 1;
    if (this.chosen === null) return;
    const [x, y] = places[this.chosen];
    for (const [color, line] of [["#ffffff", 6], ["#d00000", 3]]) {
      context.beginPath();
      context.arc(x, y, 8, 0, 7);
      Object.assign(context, { strokeStyle: color, lineWidth: line });
      context.stroke();
    }
  }

  cross(context) {
    const { width, height } = this.canvas, [left, right, low, high] = this.window;
    const x = ((this.cursor[0] - left) / (right - left)) * width, y = ((high - this.cursor[1]) / (high - low)) * height;
    for (const [color, line] of [["#ffffff", 5], ["#d00000", 2]]) {
      Object.assign(context, { strokeStyle: color, lineWidth: line });
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [0, 1]]) { context.moveTo(x - 10 * dx, y - 10 * dy); context.lineTo(x + 10 * dx, y + 10 * dy); }
      context.stroke();
    }
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.canvas.width, ((event.clientY - box.top) / box.height) * this.canvas.height];
  }

  to([x, y]) {
    const [left, right, low, high] = this.window, { width, height } = this.canvas;
    this.cursor = [left + (Math.min(Math.max(x, 0), width) / width) * (right - left), high - (Math.min(Math.max(y, 0), height) / height) * (high - low)];
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { from: this.at(event), turn: [...this.turn], far: false };
    if (this.plane) this.move(event);
  }

  move(event) {
    const [x, y] = this.at(event);
    if (this.plane && (this.drag || event.pointerType === "mouse")) {
      this.to([x, y]);
      this.chosen = null;
      this.draw();
      this.moved(...this.cursor);
    } else if (this.drag) {
      const [dx, dy] = [x - this.drag.from[0], y - this.drag.from[1]];
      this.drag.far ||= Math.hypot(dx, dy) > 5;
      if (this.space && this.drag.far) {
        this.turn = [this.drag.turn[0] - dx / 150, Math.max(-1.5, Math.min(1.5, this.drag.turn[1] + dy / 150))];
        this.draw();
      }
    }
  }

  release(event) {
    if (this.drag && !this.plane && !(this.space && this.drag.far) && event.type === "pointerup") this.pick(this.at(event));
    this.drag = null;
  }

  // The point nearest to a place of the canvas.
  pick([x, y]) {
    const distances = this.places().map((p) => Math.hypot(p[0] - x, p[1] - y));
    this.chosen = distances.indexOf(Math.min(...distances));
    if (!this.space) this.to([x, y]);
    this.draw();
    this.picked(this.chosen);
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }, step = steps[event.key];
    const [left, right, low, high] = this.window, { width, height } = this.canvas;
    if (!step && event.key !== "Enter") return;
    event.preventDefault();
    if (step && this.space) this.turn = [this.turn[0] - 0.1 * step[0], this.turn[1] - 0.1 * step[1]];
    else if (step) {
      const [x, y] = [this.cursor[0] + step[0] * (right - left) / 50, this.cursor[1] + step[1] * (high - low) / 50];
      this.cursor = [Math.min(Math.max(x, left), right), Math.min(Math.max(y, low), high)];
    }
    this.draw();
    if (this.plane) { this.chosen = null; this.moved(...this.cursor); }
    else if (event.key === "Enter" || !this.space) {
      const [x, y] = this.cursor;
      this.pick(this.space ? [width / 2, height / 2] : [((x - left) / (right - left)) * width, ((high - y) / (high - low)) * height]);
    }
  }
};
