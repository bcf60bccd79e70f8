// The list: filters, sorting, the address of each state, and the keyboard. Data come as scripts, which call `receive`.
const ROW = 52; // pixels, as in the style
const waiting = new Map();
const explorer = {
  models: [],
  receive(kind, ...given) { waiting.get([kind, ...given.slice(0, -1)].join("-"))?.(given.at(-1)); },
};
window.explorer = explorer;
function load(name) {
  return new Promise((resolve, reject) => {
    waiting.set(name, resolve);
    const script = make("script", { src: `${name}.js` });
    script.addEventListener("error", () => reject(new Error(`${name}.js is missing beside this page; it needs its whole folder`)));
    if (!/^(index|part)-/.test(name)) script.addEventListener("load", () => resolve());
    document.head.append(script);
  });
}
const kept = new Map();
function once(name) {
  if (!kept.has(name)) kept.set(name, load(name));
  return kept.get(name);
}

const form = document.querySelector(".filters");
const list = document.querySelector(".rows");
const space = document.querySelector(".space");
const panel = document.querySelector(".question");
const names = [...form.elements.model.options].map((option) => option.value);
const state = { model: null, found: [], chosen: null };

function options(select, values, first, named = (value) => value) {
  const before = select.value;
  select.replaceChildren(...(first === undefined ? [] : [make("option", { value: "" }, first)]), ...values.map((value) => make("option", { value }, named(value))));
  if (values.includes(before)) select.value = before;
}
async function openModel() {
  const number = Math.max(0, names.indexOf(form.elements.model.value));
  state.model = await once(`index-${number}`);
  state.model.number = number;
  options(form.elements.task, state.model.tasks, "all");
  options(form.elements.edge, Object.keys(state.model.effects), undefined, (edge) => state.model.looks[edge].name);
  for (const name of ["edge", "below"]) form.elements[name].closest("label").hidden = !Object.keys(state.model.effects).length;
}
function effects() { return state.model.effects[form.elements.edge.value] ?? []; }
function filter() {
  const model = state.model;
  const { task, state: wanted, words, below, sort } = Object.fromEntries(new FormData(form));
  const looked = words.trim().toLowerCase();
  const effect = effects();
  const found = [];
  for (let row = 0; row < model.question_id.length; row += 1) {
    if (task && model.tasks[model.task[row]] !== task) continue;
    if (wanted && model.state[row] !== wanted) continue;
    if (below !== "" && !(effect[row] !== null && effect[row] < Number(below))) continue;
    if (looked && ![model.question, model.answer, model.predicted, model.question_id].some((each) => each[row]?.toLowerCase().includes(looked))) continue;
    found.push(row);
  }
  const key = (row) => effect[row] ?? Infinity;
  if (sort === "effect") found.sort((a, b) => key(a) - key(b) || a - b);
  if (sort === "weakest") found.sort((a, b) => (effect[b] ?? -Infinity) - (effect[a] ?? -Infinity) || a - b);
  if (sort === "question") found.sort((a, b) => (model.question[a] ?? "").localeCompare(model.question[b] ?? "") || a - b);
  state.found = found;
  const more = model.unlisted ? `; ${model.unlisted.toLocaleString("en")} more were dropped and are not listed` : "";
  document.querySelector(".count").textContent = `${found.length.toLocaleString("en")} of ${model.question_id.length.toLocaleString("en")} questions${more}`;
  space.style.height = `${found.length * ROW}px`;
  list.scrollTop = 0;
  paint();
}
function paint() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const last = Math.min(state.found.length, first + Math.ceil(list.clientHeight / ROW) + 10);
  const { model } = state;
  const effect = effects();
  const rows = [];
  for (let place = first; place < last; place += 1) {
    const row = state.found[place];
    const said = model.state[row] === "dropped" ? "dropped" : `${model.predicted[row] || "nothing"} (${model.state[row]})`;
    const value = effect[row] === null || effect[row] === undefined ? "" : `${signed(effect[row])} %`;
    const entry = make("div", { class: "row", role: "option", id: `row-${row}`, "aria-selected": String(row === state.chosen), "aria-setsize": state.found.length, "aria-posinset": place + 1 },
      make("span", {}, model.question[row] ?? "–"), make("span", { class: "effect" }, value), make("span", { class: "small" }, `${model.tasks[model.task[row]]} · ${said}`));
    entry.style.top = `${place * ROW}px`;
    entry.addEventListener("click", () => { choose(row); list.focus(); });
    rows.push(entry);
  }
  space.replaceChildren(...rows);
  if (state.found.includes(state.chosen) && document.getElementById(`row-${state.chosen}`)) list.setAttribute("aria-activedescendant", `row-${state.chosen}`);
  else list.removeAttribute("aria-activedescendant");
}
function address() {
  const given = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    const usual = name === "edge" ? Object.keys(state.model.effects)[0] ?? "" : name === "model" ? names[0] : "";
    if (value !== usual) given.set(name, value);
  }
  if (state.chosen !== null) given.set("question", `${state.model.tasks[state.model.task[state.chosen]]}/${state.model.question_id[state.chosen]}`);
  history.replaceState(null, "", `#${given}`);
}
async function choose(row) {
  state.chosen = row;
  const place = state.found.indexOf(row);
  if (place * ROW < list.scrollTop) list.scrollTop = place * ROW;
  if ((place + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (place + 1) * ROW - list.clientHeight;
  paint();
  address();
  const { model } = state;
  const size = model.part_size;
  const details = await once(`part-${model.number}-${Math.floor(row / size)}`);
  if (state.chosen === row && state.model === model) await show(row, details[row % size]);
}
async function show(row, detail) {
  const { model } = state;
  const task = model.tasks[model.task[row]];
  const line = make("p", { class: "answerline" }, make("span", { class: `verdict ${model.state[row]}` }, model.state[row]));
  if (model.state[row] !== "dropped") line.append(make("span", {}, "The model said ", make("b", {}, model.predicted[row] || "nothing"), "; reference ", make("b", {}, model.answer[row]), "."));
  else line.append(make("span", {}, model.reasons[model.reason[row]]));
  line.append(make("span", { class: "small" }, `${task} · ${model.question_id[row]} · ${model.name}${model.analysed[row] ? "" : " · not analysed"}`));
  const panels = make("div", { class: "panels" });
  const section = (title, ...content) => { const part = make("section", {}, make("h3", {}, title), ...content); panels.append(part); return part; };
  if (detail.view) section("The image as the model receives it", seen(detail));
  const charts = [];
  if (detail.curves) {
    const lines = Object.keys(model.effects).filter((edge) => edge in detail.curves);
    const means = Object.fromEntries(Object.entries(model.means[task] ?? {}).filter(([edge]) => lines.includes(edge)));
    const target = make("div", { class: "chart" });
    section("Change of the answer’s probability", target, make("p", { class: "small" }, "Thick: this question. Thin, with a band: the mean over the task and its 95 % interval."));
    charts.push([target, lineChart(lineRows(detail.curves, means), "Change, %", lines, model.looks)]);
  }
  if (detail.track) {
    const target = make("div", { class: "chart" });
    section("When the answer can be read", target);
    charts.push([target, lineChart(lineRows(detail.track), "Probability", Object.keys(detail.track), model.looks)]);
  }
  if (detail.tokens?.length) section("What the model said, token by token", tokenTable(detail.tokens));
  if (detail.skipped) section("Left out of its measurement", make("ul", {}, ...detail.skipped.map((text) => make("li", {}, text))));
  panel.replaceChildren(make("h2", {}, model.question[row] ?? "–"), line, panels);
  if (charts.length) {
    await once("vega-embed");
    for (const [target, spec] of charts) if (target.isConnected) await vegaEmbed(target, spec, { actions: false, renderer: "svg" });
  }
}
async function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  form.elements.model.value = given.get("model") ?? names[0];
  if (form.elements.model.selectedIndex < 0) form.elements.model.selectedIndex = 0;
  await openModel();
  for (const name of ["task", "state", "edge", "below", "words", "sort"]) {
    const field = form.elements[name];
    const value = given.get(name) ?? (name === "edge" ? Object.keys(state.model.effects)[0] ?? "" : "");
    field.value = value;
    if (field.tagName === "SELECT" && field.selectedIndex < 0) field.selectedIndex = 0;
  }
  filter();
  const asked = given.get("question");
  const row = asked === null ? -1 : state.model.question_id.findIndex((id, each) => asked === `${state.model.tasks[state.model.task[each]]}/${id}`);
  if (row >= 0) await choose(row);
  else if (asked !== null) panel.replaceChildren(make("p", { class: "note" }, `This model has no question ${asked}.`));
}
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", async (event) => {
  if (event.target.name === "model") { state.chosen = null; await openModel(); }
  filter();
  address();
});
list.addEventListener("scroll", paint);
addEventListener("resize", paint);
addEventListener("hashchange", fromAddress);
list.addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const last = state.found.length - 1;
  const at = state.found.indexOf(state.chosen);
  const to = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: last }[event.key];
  if (to === undefined || last < 0) return;
  event.preventDefault();
  choose(state.found[Math.min(last, Math.max(0, to))]);
});
fromAddress().catch((error) => panel.replaceChildren(make("p", { class: "note" }, String(error.message))));
