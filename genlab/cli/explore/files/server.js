"use strict";
// Asks the server that sent this page. ask(action, request) -> its reply; an image sheet in it is loaded.
const lab = { run: JSON.parse(document.getElementById("run").textContent) };

lab.ask = async (action, request = {}) => {
  const response = await fetch(action, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return lab.loaded(answer);
};
lab.ready = Promise.resolve();
