"use strict";
// Samples of a flow without a server: dx/dt = v(x, t) is solved here from noise at t = 0 to data at t = 1; the graph
// gives v of one state.

// Normal numbers of a seed: mulberry32, then Box-Muller. More numbers begin with the same ones.
lab.noise = (seed, length) => {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return (((bits ^ (bits >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  return Float32Array.from({ length }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
};

// v(x, t) of one class, or of a model without classes (label null); with guidance as in genlab/nn/diffusion/guidance.py.
lab.velocity = async (x, t, label, guidance) => {
  const run = async (number) => {
    const given = number === null ? {} : { label: new lab.ort.Tensor("int64", BigInt64Array.of(BigInt(number)), [1]) };
    return (await lab.session.run({ x: lab.tensor(x, 1, ...lab.run.shape), time: lab.tensor([t], 1), ...given })).velocity.data;
  };
  const found = await run(label);
  if (label === null || guidance === 1) return found;
  const plain = await run(lab.run.classes.length); // the number that stands for no class
  return plain.map((v, i) => v + guidance * (found[i] - v));
};

// One step of a Runge-Kutta method, as genlab/nn/diffusion/solvers.py has them.
const along = (x, h, ...slopes) => x.map((value, i) => value + h * slopes.reduce((sum, [weight, v]) => sum + weight * v[i], 0));
lab.solvers = {
  euler: async (v, x, t, h) => along(x, h, [1, await v(x, t)]),
  midpoint: async (v, x, t, h) => along(x, h, [1, await v(along(x, h / 2, [1, await v(x, t)]), t + h / 2)]),
  heun: async (v, x, t, h) => {
    const k1 = await v(x, t);
    return along(x, h / 2, [1, k1], [1, await v(along(x, h, [1, k1]), t + h)]);
  },
  rk4: async (v, x, t, h) => {
    const k1 = await v(x, t), k2 = await v(along(x, h / 2, [1, k1]), t + h / 2), k3 = await v(along(x, h / 2, [1, k2]), t + h / 2);
    return along(x, h / 6, [1, k1], [2, k2], [2, k3], [1, await v(along(x, h, [1, k3]), t + h)]);
  },
};

// The states of sample number k, noise first.
lab.states = async (noise, k, { steps, solver, guidance = 1, label }) => {
  const size = lab.run.shape.reduce((a, b) => a * b), number = lab.run.classes ? label ?? k % lab.run.classes.length : null;
  const states = [noise.slice(k * size, (k + 1) * size)], v = (x, t) => lab.velocity(x, t, number, guidance);
  for (let i = 0; i < steps; i++) states.push(await lab.solvers[solver](v, states[i], i / steps, (i + 1) / steps - i / steps));
  return states;
};

lab.paths = async (n, seed, options) => {
  const noise = lab.noise(seed, n * lab.run.shape.reduce((a, b) => a * b)), paths = [];
  for (let k = 0; k < n; k++) {
    lab.status(`sample ${k + 1} of ${n} …`);
    paths.push(await lab.states(noise, k, options));
  }
  lab.status("ready");
  return paths;
};

lab.toImage = (x) => x.map((value) => Math.min(1, Math.max(0, (value + 1) / 2)));

// States that spread more widely than 1.2 are scaled down to it, as genlab/evaluation/sampling_path.py does.
lab.narrowed = (states) => {
  const count = states.length * states[0].length, mean = states.reduce((sum, x) => sum + x.reduce((a, b) => a + b, 0), 0) / count;
  const variance = states.reduce((sum, x) => sum + x.reduce((a, b) => a + (b - mean) ** 2, 0), 0) / (count - 1);
  const scale = Math.max(1, Math.sqrt(variance) / 1.2);
  return states.map((x) => x.map((value) => value / scale));
};

lab.answers.sample = async ({ n, seed, options }) => {
  const images = (await lab.paths(n, seed, options)).map((states) => lab.toImage(states.at(-1)));
  const classes = "label" in options ? 0 : lab.run.classes?.length ?? 0, across = Math.floor(Math.sqrt(n));
  return lab.sheet(images, classes && classes <= n ? classes * Math.max(1, Math.floor(across / classes)) : Math.ceil(Math.sqrt(n)));
};

lab.answers.path = async ({ n = 4, frames = 9, seed, options }) => {
  const paths = await lab.paths(n, seed, options), { steps } = options;
  const shown = [...new Set(Array.from({ length: frames }, (_, i) => Math.round((steps * i) / (frames - 1))))];
  const columns = shown.map((i) => lab.narrowed(paths.map((states) => states[i])).map(lab.toImage));
  return lab.sheet(paths.flatMap((_, k) => columns.map((column) => column[k])), shown.length);
};
