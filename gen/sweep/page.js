"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows, done = rows.filter(row => row.status === "done");
const $ = id => document.getElementById(id);
const goals = new Map(data.objectives.map(goal => [goal.figure, goal.largest]));
let chosen = null;

function element(name, attributes = {}, ...children) {
  const drawn = ["svg", "g", "text", "line", "path", "circle", "rect", "title"].includes(name);
  const made = drawn ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function number(value) {
  if (typeof value !== "number") return value === undefined || value === null ? "" : String(value);
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return Number(value.toPrecision(4)).toString();
}

const figure = (row, name) => row.figures[name];
const parameter = (row, name) => name === "target" ? row.target : row.settings[name];
const short = name => name.replace(/^array\./, "");

// Numbers along an axis; a wide range of positive ones by their logarithm.
function scale(values, from, to) {
  let low = Math.min(...values), high = Math.max(...values);
  const log = low > 0 && high / low > 50;
  const into = log ? Math.log10 : value => value;
  low = into(low); high = into(high);
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  low -= room; high += room;
  const place = value => from + (into(value) - low) / (high - low) * (to - from);
  const ticks = [];
  if (log) {
    for (let power = Math.ceil(low); power <= high; power++) ticks.push(10 ** power);
    for (const factor of [2, 5]) if (ticks.length < 3)
      for (let power = Math.floor(low); power <= high; power++)
        if (Math.log10(factor) + power >= low && Math.log10(factor) + power <= high) ticks.push(factor * 10 ** power);
  } else {
    const raw = (high - low) / 5, base = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map(one => one * base).find(one => one >= raw);
    for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(Number(tick.toPrecision(12)));
  }
  return {place, ticks};
}

function live(shape, row) {
  shape.dataset.key = row.key;
  shape.addEventListener("pointerenter", event => { heat(row, true); tip(row, event); });
  shape.addEventListener("pointermove", event => tip(row, event));
  shape.addEventListener("pointerleave", () => { heat(row, false); $("tip").hidden = true; });
  shape.addEventListener("click", () => choose(row));
  shape.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(row); } });
  return shape;
}

function heat(row, on) {
  for (const shape of document.querySelectorAll(`[data-key="${row.key}"]`)) shape.classList.toggle("hot", on);
}

function pairs(entries) {
  return element("table", {}, ...entries.map(([name, value]) =>
    element("tr", {}, element("td", {}, name), element("td", {}, number(value)))));
}

function tip(row, event) {
  const box = $("tip");
  box.replaceChildren(
    element("strong", {}, row.pareto ? "On the Pareto front" : row.key.slice(0, 8)),
    pairs([...data.parameters.map(name => [short(name), parameter(row, name)]),
      ...data.objectives.map(goal => [goal.figure, figure(row, goal.figure)])]));
  box.hidden = false;
  const bounds = box.getBoundingClientRect();
  box.style.left = Math.min(event.clientX + 16, innerWidth - bounds.width - 8) + "px";
  box.style.top = Math.max(8, Math.min(event.clientY + 16, innerHeight - bounds.height - 8)) + "px";
}

function choose(row) {
  chosen = row;
  for (const shape of document.querySelectorAll(".chosen")) shape.classList.remove("chosen");
  for (const shape of document.querySelectorAll(`[data-key="${row.key}"]`)) shape.classList.add("chosen");
  const parts = [element("h2", {}, row.pareto ? "A point of the Pareto front" : "A point"),
    element("p", {class: "hint"}, row.key.slice(0, 16))];
  if (row.kind) parts.push(element("p", {class: "reason"}, `${row.kind}: ${row.reason}`));
  parts.push(element("h3", {}, "Configuration"), pairs([["base", row.base], ...data.parameters.map(name => [name, parameter(row, name)])]));
  if (Object.keys(row.figures).length) parts.push(element("h3", {}, "Figures"), pairs(Object.entries(row.figures)));
  parts.push(pairs([["seconds", row.seconds], ["MiB of memory", Math.round(row.peak_bytes / 1048576)]]));
  parts.push(...command("Evaluate it anew", row.again), ...command("Generate its Verilog", row.rebuild));
  if (row.floorplan) parts.push(...plan(row.floorplan));
  if (row.log) parts.push(element("h3", {}, "What its programs said last"), element("pre", {}, row.log));
  $("details").replaceChildren(...parts);
}

function command(title, text) {
  const button = element("button", {type: "button"}, "copy"), shown = element("pre", {class: "command"}, text);
  button.addEventListener("click", () => {
    getSelection().selectAllChildren(shown);
    button.textContent = document.execCommand("copy") ? "copied" : "select it by hand";
  });
  return [element("h3", {}, title), shown, button];
}

// Tiles of the part, each in the colour of the module that most of its cells belong to.
function plan(floorplan) {
  const letters = Object.keys(floorplan.modules), width = floorplan.rows[0].length, height = floorplan.rows.length;
  const colour = letter => `hsl(${letters.indexOf(letter) * 137.5 % 360} 62% ${letters.indexOf(letter) % 2 ? 42 : 55}%)`;
  const drawing = element("svg", {viewBox: `-1 -1 ${width + 2} ${height + 2}`, class: "floorplan", role: "img", "aria-label": "Floorplan"});
  drawing.append(element("rect", {x: -1, y: -1, width: width + 2, height: height + 2, fill: "#fff", stroke: "#9aa5b1", "stroke-width": 0.6}));
  for (const letter of letters) {
    let path = "";
    floorplan.rows.forEach((line, y) => { for (let x = 0; x < width; x++) if (line[x] === letter) path += `M${x} ${y}h.92v.92h-.92z`; });
    drawing.append(element("path", {d: path, fill: colour(letter)}, element("title", {}, floorplan.modules[letter].name)));
  }
  const names = letters.map(letter => {
    const swatch = element("i");
    swatch.style.background = colour(letter);
    return element("li", {}, swatch, `${floorplan.modules[letter].name} (${number(floorplan.modules[letter].cells)})`);
  });
  return [element("h3", {}, "Floorplan: modules and their cells"), drawing, element("ul", {class: "modules"}, ...names)];
}

function scatter() {
  const x = $("x").value, y = $("y").value, W = 860, H = 430, left = 84, right = 20, top = 14, bottom = 50;
  const shown = done.filter(row => typeof figure(row, x) === "number" && typeof figure(row, y) === "number");
  const parts = [];
  if (shown.length) {
    const across = scale(shown.map(row => figure(row, x)), left, W - right), up = scale(shown.map(row => figure(row, y)), H - bottom, top);
    for (const tick of across.ticks) parts.push(
      element("line", {class: "grid", x1: across.place(tick), x2: across.place(tick), y1: top, y2: H - bottom}),
      element("text", {x: across.place(tick), y: H - bottom + 18, "text-anchor": "middle"}, number(tick)));
    for (const tick of up.ticks) parts.push(
      element("line", {class: "grid", x1: left, x2: W - right, y1: up.place(tick), y2: up.place(tick)}),
      element("text", {x: left - 8, y: up.place(tick) + 4, "text-anchor": "end"}, number(tick)));
    const best = shown.filter(row => row.pareto).sort((a, b) => figure(a, x) - figure(b, x));
    if (goals.has(x) && goals.has(y) && goals.size === 2) parts.push(element("path", {class: "frontline",
      d: best.map((row, place) => `${place ? "L" : "M"}${across.place(figure(row, x)).toFixed(1)} ${up.place(figure(row, y)).toFixed(1)}`).join("")}));
    for (const row of [...shown].sort((a, b) => a.pareto - b.pareto)) parts.push(live(element("circle", {
      class: "point" + (row.pareto ? " front" : "") + (row === chosen ? " chosen" : ""), r: row.pareto ? 6.5 : 5, tabindex: 0, role: "button",
      "aria-label": row.title, cx: across.place(figure(row, x)).toFixed(1), cy: up.place(figure(row, y)).toFixed(1)}), row));
  }
  const wish = name => goals.has(name) ? (goals.get(name) ? " (large is good)" : " (small is good)") : "";
  parts.push(element("text", {class: "name", x: (left + W - right) / 2, y: H - 8, "text-anchor": "middle"}, x + wish(x)),
    element("text", {class: "name", transform: `translate(16 ${(top + H - bottom) / 2}) rotate(-90)`, "text-anchor": "middle"}, y + wish(y)));
  $("scatter").setAttribute("viewBox", `0 0 ${W} ${H}`);
  $("scatter").replaceChildren(...parts);
}

const MOST_WIRES = 2000;

function parallel() {
  const W = 860, H = 330, top = 46, bottom = 26, side = 60;
  const figures = data.figures.filter(name => goals.has(name) || ["lut", "fmax_mhz", "cycles", "dsp", "bram"].includes(name));
  const axes = [...data.parameters.map(name => ordinal(name)), ...figures.map(name => numeric(name))].filter(axis => axis);
  const parts = [];
  axes.forEach((axis, place) => { axis.x = axes.length > 1 ? side + place * (W - 2 * side) / (axes.length - 1) : W / 2; });
  function ordinal(name) {
    const values = [...new Set(done.map(row => parameter(row, name)))];
    if (values.length < 1) return null;
    values.sort((a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
    const place = value => values.length > 1 ? H - bottom - values.indexOf(value) * (H - top - bottom) / (values.length - 1) : (H - bottom + top) / 2;
    const every = Math.ceil(values.length / 12);
    return {name: short(name), of: row => parameter(row, name), place, ticks: values.filter((_, at) => at % every === 0)};
  }
  function numeric(name) {
    const values = done.map(row => figure(row, name)).filter(value => typeof value === "number");
    return new Set(values).size > 1 ? {name, of: row => figure(row, name), ...scale(values, H - bottom, top)} : null;
  }
  const wires = [...done].sort((a, b) => b.pareto - a.pareto).slice(0, MOST_WIRES).reverse();
  for (const row of wires) {
    const path = axes.filter(axis => axis.of(row) !== undefined && axis.of(row) !== null)
      .map((axis, place) => `${place ? "L" : "M"}${axis.x.toFixed(1)} ${axis.place(axis.of(row)).toFixed(1)}`).join("");
    parts.push(live(element("path", {class: "wire" + (row.pareto ? " front" : ""), d: path}), row));
  }
  axes.forEach((axis, place) => {
    parts.push(element("line", {class: "grid", x1: axis.x, x2: axis.x, y1: top, y2: H - bottom}),
      element("text", {class: "name", x: axis.x, y: place % 2 ? 14 : 30, "text-anchor": !place ? "start" : place === axes.length - 1 ? "end" : "middle", dx: !place ? -24 : place === axes.length - 1 ? 40 : 0}, axis.name));
    for (const tick of axis.ticks) parts.push(element("text", {x: axis.x + 5, y: axis.place(tick) + 4}, number(tick)));
  });
  $("parallel").setAttribute("viewBox", `0 0 ${W} ${H}`);
  $("parallel").replaceChildren(...parts);
}

function list() {
  const columns = [
    {name: "point", text: true, of: row => row.key.slice(0, 8)}, ...data.parameters.map(name => ({name: short(name), of: row => parameter(row, name)})),
    ...data.figures.map(name => ({name, of: row => figure(row, name)})), {name: "seconds", of: row => row.seconds},
    {name: "failed", text: true, of: row => row.kind ? `${row.kind}: ${row.reason.split("\n")[0]}` : ""}];
  const body = element("tbody"), order = {column: null, down: false};
  const fill = sorted => body.replaceChildren(...sorted.map(row => {
    const line = element("tr", {class: (row.pareto ? "front" : "") + (row === chosen ? " chosen" : "")}, ...columns.map(column =>
      element("td", {class: (column.text ? "text" : "") + (column.name === "failed" ? " reason" : "")}, number(column.of(row)))));
    return live(line, row);
  }));
  const heads = columns.map(column => {
    const head = element("th", {class: column.text ? "text" : "", scope: "col"}, column.name);
    head.addEventListener("click", () => {
      order.down = order.column === column && !order.down;
      order.column = column;
      const sorted = [...rows].sort((a, b) => {
        const one = column.of(a), other = column.of(b);
        if (typeof one === "number" && typeof other === "number") return one - other;
        return String(one ?? "\uffff").localeCompare(String(other ?? "\uffff"));
      });
      fill(order.down ? sorted.reverse() : sorted);
    });
    return head;
  });
  $("table").replaceChildren(element("thead", {}, element("tr", {}, ...heads)), body);
  fill(rows);
}

const names = data.figures.filter(name => done.some(row => typeof figure(row, name) === "number"));
const wanted = data.objectives.map(goal => goal.figure).filter(name => names.includes(name));
for (const [place, id] of ["x", "y"].entries()) {
  for (const name of names) $(id).append(element("option", {value: name}, name));
  $(id).value = (place === 0 ? wanted[1] ?? names.find(name => name !== wanted[0]) : wanted[0]) ?? names[0] ?? "";
  $(id).addEventListener("change", scatter);
}
scatter();
parallel();
list();
const first = rows.find(row => row.pareto && row.floorplan) ?? rows.find(row => row.pareto);
if (location.hash.length > 1) { const found = rows.find(row => row.key.startsWith(location.hash.slice(1))); if (found) choose(found); }
else if (first) choose(first);
