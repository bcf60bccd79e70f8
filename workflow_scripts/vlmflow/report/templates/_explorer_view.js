// What one question shows: its image with patches, boxes, attention and words; its curves; and the answer's tokens.
const SVG = "http://www.w3.org/2000/svg";
function draw(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
function signed(value, digits = 1) {
  const text = value.toFixed(digits);
  return (Number(text) > 0 ? "+" : "") + text.replace("-", "−");
}

// The image, with layers that a reader switches on; `detail` is the question's entry of a part.
function seen(detail) {
  const { view, attention = {}, words } = detail;
  const box = make("div", { class: "seen" });
  const height = (100 * view.height) / view.width;
  const image = draw("svg", { viewBox: `0 0 100 ${height}`, role: "img", "aria-label": "The image as the model receives it" });
  const layers = Object.fromEntries(["picture", "cells", "related", "boxes"].map((name) => [name, draw("g", {})]));
  image.append(...Object.values(layers));
  layers.picture.append(draw("image", { href: `data:image/webp;base64,${view.image}`, width: 100, height, preserveAspectRatio: "none" }));
  const cell = { width: 100 / view.columns, height: height / view.rows };
  const place = (number, columns = view.columns, rows = view.rows) => ({
    x: ((number % columns) * 100) / columns, y: (Math.floor(number / columns) * height) / rows, width: 100 / columns, height: height / rows });
  for (const number of view.related) {
    layers.related.append(draw("rect", { ...place(number), fill: "none", stroke: "#ff4fb0", "stroke-width": 0.5 }));
  }
  for (const [name, x, y, w, h] of view.boxes) {
    const frame = { x: 100 * x, y: height * y, width: 100 * w, height: height * h, fill: "none" };
    layers.boxes.append(draw("rect", { ...frame, stroke: "#000", "stroke-width": 1.2 }), draw("rect", { ...frame, stroke: "#ffdc00", "stroke-width": 0.7 }));
    layers.boxes.append(draw("text", { x: Math.max(0.5, 100 * x + 0.8), y: Math.max(4, height * y + 4.4), "font-size": 4, fill: "#ffdc00", stroke: "#000", "stroke-width": 0.8, "paint-order": "stroke" }, name));
  }
  const shows = [...Object.keys(attention).map((target) => [`attention:${target}`, `attention from ${target}`]), ...(words ? [["words", "decoded words"]] : [])];
  const controls = make("div", { class: "controls" });
  for (const [name, label, known] of [["boxes", "boxes", view.boxes.length], ["related", "related patches", view.related.length]]) {
    const check = make("input", { type: "checkbox", ...(name === "boxes" ? { checked: "" } : {}), ...(known ? {} : { disabled: "" }) });
    const apply = () => { layers[name].style.display = check.checked ? "" : "none"; };
    check.addEventListener("change", apply);
    apply();
    controls.append(make("label", {}, check, ` ${label}`));
  }
  box.append(image, controls);
  if (shows.length) {
    const menu = make("select", {}, make("option", { value: "" }, "nothing"), ...shows.map(([value, label]) => make("option", { value }, label)));
    const slider = make("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "layer" });
    const shown = make("output", {});
    const update = () => {
      layers.cells.replaceChildren();
      slider.disabled = menu.value === "";
      shown.textContent = "";
      if (menu.value === "") return;
      const map = menu.value === "words" ? words : attention[menu.value.slice("attention:".length)];
      slider.max = map.layers.length - 1;
      const step = Math.min(slider.value, slider.max);
      const layer = map.layers[step];
      slider.setAttribute("aria-valuetext", `layer ${layer}`);
      shown.textContent = `layer ${layer}${map.most === undefined ? "" : `, brightest ${map.most} %`}`;
      if (menu.value === "words") paintWords(layers.cells, map.cells[step].map((number) => map.words[number]), place, cell);
      else paintCells(layers.cells, bytes(map.cells[step]), map.columns, place);
    };
    for (const each of [menu, slider]) each.addEventListener("input", update);
    if (shows.length) menu.value = shows[0][0];
    update();
    controls.append(make("label", {}, "show ", menu), make("label", {}, "layer ", slider), shown);
  }
  return box;
}
function paintCells(group, values, columns, place) {
  const rows = Math.ceil(values.length / columns);
  values.forEach((value, number) => {
    group.append(draw("rect", { ...place(number, columns, rows), fill: "#10101c", "fill-opacity": (0.88 * (1 - value / 255)).toFixed(3) }));
  });
}
function paintWords(group, decoded, place, cell) {
  const size = Math.min(cell.height * 0.5, cell.width * 0.3);
  decoded.forEach((word, number) => {
    const { x, y } = place(number);
    const short = [...word].length > 7 ? `${[...word].slice(0, 6).join("")}…` : word;
    group.append(draw("rect", { x, y, width: cell.width, height: cell.height, fill: "#fff", "fill-opacity": 0.66, stroke: "#bbb", "stroke-width": 0.1 }));
    const text = draw("text", { x: x + cell.width / 2, y: y + cell.height / 2 + size / 3, "font-size": size, "text-anchor": "middle" }, short);
    text.append(draw("title", {}, word));
    group.append(text);
  });
}

// Vega-Lite: lines over layers, with the means and their intervals behind them where they are known.
function lineRows(curves, means = {}) {
  const rows = [];
  for (const [line, [first, values]] of Object.entries(curves)) {
    values.forEach((value, step) => { if (value !== null) rows.push({ line, layer: first + step, value }); });
  }
  for (const [line, { layer, mean, low, high }] of Object.entries(means)) {
    layer.forEach((each, step) => rows.push({ line, layer: each, mean: mean[step], low: low[step], high: high[step] }));
  }
  return rows;
}
function lineChart(rows, title, names, looks) {
  const values = rows.map((row) => ({ ...row, line: looks[row.line].name }));
  const domain = names.map((name) => looks[name].name);
  const legend = { orient: "bottom", columns: 1, title: null, labelLimit: 320, labelFont: "DejaVu Sans, Arial, sans-serif", symbolType: "stroke", symbolOpacity: 1, symbolStrokeWidth: 3 };
  const color = { field: "line", type: "nominal", scale: { domain, range: names.map((name) => looks[name].color) }, legend };
  const strokeDash = { field: "line", type: "nominal", scale: { domain, range: names.map((name) => looks[name].dash) }, legend };
  const x = { field: "layer", type: "quantitative", title: "Layer", axis: { tickMinStep: 1, grid: false } };
  const y = (field) => ({ field, type: "quantitative", title });
  const own = values.filter((row) => "value" in row);
  const means = values.filter((row) => "mean" in row);
  const tooltip = [{ field: "line" }, { field: "layer" }, { field: "value", format: ".3~f" }];
  const behind = [
    { data: { values: means }, mark: { type: "area", opacity: 0.15 }, encoding: { x, y: y("low"), y2: { field: "high" }, color } },
    { data: { values: means }, mark: { type: "line", strokeWidth: 0.8, opacity: 0.7 }, encoding: { x, y: y("mean"), color } },
  ];
  const front = { data: { values: own }, mark: { type: "line", strokeWidth: 2.2, point: { size: 18 } }, encoding: { x, y: y("value"), color, strokeDash, tooltip } };
  return { width: 300, height: 180, config: { view: { stroke: "#ccc" } }, layer: means.length ? [...behind, front] : [front] };
}
function tokenTable(tokens) {
  const rows = tokens.map(([text, probability]) => make("tr", {}, make("td", {}, JSON.stringify(text)), make("td", { class: "n" }, `${(100 * probability).toFixed(1)} %`)));
  const head = make("thead", {}, make("tr", {}, make("th", {}, "Token"), make("th", { class: "n" }, "Probability")));
  return make("table", { class: "tokens" }, head, make("tbody", {}, ...rows));
}
