// The menu of tasks: a figure's narrow form with the panels of one task only, and its rows of the table.
const close = (text) => text.replace(/\s+/g, "");
function taskOf(text, tasks) {
  const heading = close(text);
  const fitting = tasks.filter((task) => [",", "(", undefined].includes(heading.startsWith(close(task)) ? heading[close(task).length] : null));
  return fitting.sort((a, b) => b.length - a.length)[0];
}
function panelsOf(drawing) {
  return [...drawing.querySelectorAll(".cell > g")].filter((cell) => cell.querySelector(".role-title-text"));
}
const headingOf = (panel) => panel.querySelector(".role-title-text").textContent;
function place(group) {
  const [x, y] = group.getAttribute("transform").match(/-?[\d.]+/g).map(Number);
  return { x, y };
}
// The drawing without the panels of other tasks; those that stay move up to the first places.
function onlyTask(drawing, task, tasks) {
  const panels = panelsOf(drawing);
  const places = panels.map((panel) => panel.getAttribute("transform"));
  const last = place(panels.at(-1)).y;
  const [kept, others] = [true, false].map((own) => panels.filter((panel) => (taskOf(headingOf(panel), tasks) === task) === own));
  kept.forEach((panel, number) => panel.setAttribute("transform", places[number]));
  others.forEach((panel) => panel.remove());
  const lowest = place(kept.at(-1)).y;
  for (const header of drawing.querySelectorAll(".row_header > g")) if (place(header).y > lowest) header.remove();
  [...drawing.querySelectorAll(".column_footer > g")].forEach((footer, number) => {
    const { x, y } = place(footer);
    if (number < kept.length) footer.setAttribute("transform", `translate(${x},${y - last + lowest})`);
    else footer.remove();
  });
  fit(drawing);
}
function fit(drawing) {
  const ground = drawing.querySelector(":scope > rect");
  ground?.setAttribute("width", 0);
  ground?.setAttribute("height", 0);
  const shown = document.importNode(drawing, true);
  shown.setAttribute("style", "position: absolute; visibility: hidden");
  document.body.append(shown);
  const box = shown.querySelector(":scope > g").getBBox();
  const moved = place(shown.querySelector(":scope > g"));
  shown.remove();
  const [width, height] = [Math.ceil(box.width) + 10, Math.ceil(box.height) + 10];
  drawing.setAttribute("viewBox", `${box.x + moved.x - 5} ${box.y + moved.y - 5} ${width} ${height}`);
  drawing.setAttribute("width", width);
  drawing.setAttribute("height", height);
}
async function drawingOf(image) {
  const text = image.dataset.narrow === undefined
    ? new TextDecoder().decode(bytes(image.closest("picture").querySelector("source").srcset.split(",")[1]))
    : new TextDecoder().decode(await unpacked(image.dataset.narrow));
  return new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
}
async function tasksOf(figure, tasks) {
  const image = figure.querySelector("img");
  if (image.dataset.kind === "image/png" || image.src.startsWith("data:image/png")) return [];
  const found = new Set(panelsOf(await drawingOf(image)).map((panel) => taskOf(headingOf(panel), tasks)));
  return tasks.filter((task) => found.has(task));
}
async function showTask(figure, task, tasks) {
  figure.dataset.task = task;
  const [image, before] = [figure.querySelector("img:not(.of-task)"), figure.querySelector(".of-task")];
  const drawing = task === "" ? null : await drawingOf(image);
  if (figure.dataset.task !== task) return; // another one was chosen meanwhile
  before?.remove();
  (image.closest("picture") ?? image).hidden = drawing !== null;
  if (drawing === null) return;
  onlyTask(drawing, task, tasks);
  const address = URL.createObjectURL(new Blob([drawing.outerHTML], { type: "image/svg+xml" }));
  figure.prepend(make("img", { class: "of-task", src: address, alt: `${image.alt} Only ${task}.` }));
}
// The menu of a block, with the tasks of the figure that is shown.
async function offerTasks(block) {
  const tasks = JSON.parse(block.dataset.tasks);
  const figure = block.querySelector(".variant:not([hidden]) figure:not([hidden])");
  const found = await tasksOf(figure, tasks);
  if (found.length < 2) return;
  const menu = make("select", { "data-menu": "task" }, make("option", { value: "" }, "all"), ...found.map((task) => make("option", {}, task)));
  const menus = block.querySelector(".menus") ?? block.insertBefore(make("div", { class: "menus" }), block.querySelector(".variant"));
  menus.append(make("label", {}, "Task ", menu));
}
async function showTasks(block) {
  const menu = block.querySelector("[data-menu=task]");
  if (menu === null) return;
  const tasks = JSON.parse(block.dataset.tasks);
  for (const row of block.querySelectorAll("tbody tr")) {
    const cell = row.querySelector("[data-label=Task]");
    row.hidden = menu.value !== "" && cell !== null && taskOf(cell.textContent, tasks) !== menu.value;
  }
  for (const figure of block.querySelectorAll(".variant:not([hidden]) figure:not([hidden])")) {
    const has = menu.value === "" || (await tasksOf(figure, tasks)).includes(menu.value);
    await showTask(figure, has ? menu.value : "", tasks);
  }
}
