"use strict";
// The samples of the page stand in `index` as columns: number i is the same sample in each. All else
// about them is in chunks, which are parsed when one of their samples comes into view. Names reach
// the page as text only.

const $ = id => document.getElementById(id);
const index = JSON.parse($("index").textContent);
const MOST_VIEWS = 6; // side by side, before "+3"
const MOST_PARSED = 40; // chunks
const GAP = 4, CARD_GAP = 12, PADDING = 8, CAPTION = 22, HEADING = 48; // pixels, as in preview.css
const SMALL = 192; // pixels, to which small images are enlarged in the dialog
const AHEAD = 800; // pixels above and below the window that are drawn
const columnNames = ["split", "label", "views", "size"];
const filters = {split: "", label: "", views: "", size: "", text: ""};
const main = $("samples"), dialog = $("dialog");

function make(tag, className, text, parent) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

const number = n => n.toLocaleString("en");
const partOf = (n, all, what) => (n < all ? `${number(n)} of ` : "") + counted(all, what);
const counted = (n, what) => `${number(n)} ${what}${n === 1 ? "" : what.endsWith("s") ? "es" : "s"}`;

// The number of the last of these ascending values that is at most `value`.
function lastUpTo(value, count, at) {
  let low = 0, high = count;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (at(middle) <= value) low = middle; else high = middle;
  }
  return low;
}

// --- samples -------------------------------------------------------------------------------------

const parsed = new Map(); // the chunks used last

// JSON that stands in the page; null as long as the browser has not got there.
function readJson(id) {
  const block = $(id);
  const whole = block && (block.nextElementSibling || document.readyState !== "loading");
  return whole ? JSON.parse(block.textContent) : null;
}

function readSample(i) {
  const chunk = lastUpTo(i, index.starts.length, n => index.starts[n]);
  const samples = parsed.get(chunk) || readJson(`chunk-${chunk}`);
  if (!samples) return null;
  parsed.delete(chunk);
  parsed.set(chunk, samples);
  if (parsed.size > MOST_PARSED) parsed.delete(parsed.keys().next().value);
  return samples[i - index.starts[chunk]];
}

// An image, or a tile that says why there is none.
function makeView(view, name, source) {
  if (!view) return make("span", "tile missing", "missing");
  const bad = reason => {
    const tile = make("span", "tile bad", "unreadable");
    tile.title = reason;
    return tile;
  };
  if (view.error) return bad(view.error);
  const image = make("img");
  image.alt = image.title = name;
  if (view.whole) image.className = "whole";
  image.addEventListener("error", () => image.replaceWith(bad("the browser cannot show it")));
  image.src = source || view.src;
  return image;
}

// --- filters -------------------------------------------------------------------------------------

const choices = { // of each filter: [value, name, number of samples or images of the dataset]
  split: index.choices.split.map(([name, n], i) => [i, name, n]),
  label: index.choices.label.map(([name, n], i) => [i, name, n]),
  views: index.choices.views.map(([views, n]) => [views, counted(views, "view"), n]),
  size: index.choices.size.map(([name, n], i) => [i, name, n]).filter(choice => choice[2]),
};
const sum = choices => choices.reduce((total, choice) => total + choice[2], 0);

function passes(i) {
  return (filters.split === "" || index.split[i] === filters.split)
    && (filters.label === "" || index.label[i] === filters.label)
    && (filters.views === "" || index.views[i] === filters.views)
    && (filters.size === "" || index.size[i].includes(filters.size))
    && index.id[i].toLowerCase().includes(filters.text);
}

function setFilter(name, value) {
  filters[name] = value;
  for (const filter of columnNames) if ($(filter)) $(filter).value = filters[filter];
  for (const bar of document.querySelectorAll(".bar")) {
    bar.setAttribute("aria-pressed", filters[bar.dataset.filter] === Number(bar.dataset.value)
      && filters[bar.dataset.filter] !== "");
  }
  $("clear").disabled = Object.values(filters).every(value => value === "");
  show();
}

function makeFilters() {
  const form = $("filters");
  const labelled = name => make("label", "", name, form);
  const text = make("input", "", undefined, labelled("Sample"));
  text.type = "search";
  text.placeholder = "part of its name";
  text.addEventListener("input", () => setFilter("text", text.value.toLowerCase()));
  const names = {split: "Split", label: "Class", views: "Views", size: "Image size"};
  for (const name of columnNames) {
    if (choices[name].length < 2) continue;
    const select = make("select", "", undefined, labelled(names[name]));
    select.id = name;
    make("option", "", "any", select).value = "";
    for (const [value, label] of choices[name]) make("option", "", label, select).value = value;
    select.addEventListener("change", () =>
      setFilter(name, select.value === "" ? "" : Number(select.value)));
  }
  const clear = make("button", "", "Clear filters", form);
  clear.id = "clear";
  clear.type = "button";
  clear.disabled = true;
  clear.addEventListener("click", () => {
    text.value = "";
    for (const name in filters) filters[name] = "";
    setFilter("text", "");
  });
  make("output", "quiet", "", form).id = "count";
  form.addEventListener("submit", event => event.preventDefault());
}

// Bars do what the selects above the samples do, so the keyboard passes them by.
function makeHistogram(title, name, unit) {
  const panel = make("section", "panel", undefined, $("histograms"));
  make("h2", "", title, panel);
  const list = make("div", "bars", undefined, panel);
  const most = Math.max(...choices[name].map(choice => choice[2]));
  for (const [value, label, n] of choices[name]) {
    const bar = make("button", "bar", undefined, list);
    bar.type = "button";
    bar.tabIndex = -1;
    bar.dataset.filter = name;
    bar.dataset.value = value;
    bar.title = `${label}: ${counted(n, unit)}`;
    make("span", "label", label, bar);
    make("span", "length", undefined, make("span", "track", undefined, bar)).style.width =
      `${100 * n / most}%`;
    make("span", "number", number(n), bar);
    bar.addEventListener("click", () => setFilter(name, filters[name] === value ? "" : value));
  }
}

// --- the list: lines of samples, of which those near the window are drawn ------------------------

let shown = []; // the samples that pass the filters
let lines = []; // {top, height, label} of a heading, {top, height, first, end} of samples in `shown`
let drawn = new Map(); // elements by number of line
let current = 0; // number in `shown`
let columns = 1, across = 1; // samples in a line, views of a sample

function show() {
  const sample = shown[current];
  shown = index.id.map((_, i) => i).filter(passes);
  current = Math.max(0, shown.indexOf(sample));
  const isPart = index.id.length < sum(choices.label);
  $("count").textContent =
    partOf(shown.length, index.id.length, "sample") + (isPart ? " in this page" : "");
  layOut();
}

function layOut() {
  const width = main.clientWidth;
  across = Math.min(MOST_VIEWS, index.views.reduce((most, n) => Math.max(most, n), 1));
  const frame = 2 * PADDING + 2 - GAP + CARD_GAP; // what a card has besides its views
  // One more column, where thumbnails need to shrink by a fifth at most for it.
  const card = Math.max(across * (index.thumbnail * .8 + GAP) + frame, 150 + CARD_GAP);
  columns = Math.max(1, Math.floor((width + CARD_GAP) / card));
  const room = (width + CARD_GAP) / columns - frame;
  const side = Math.min(index.thumbnail, Math.floor(room / across) - GAP);
  const height = CAPTION + imageColumns() * (side + GAP) + 2 * PADDING + CARD_GAP;
  main.style.setProperty("--side", `${side}px`);
  main.style.setProperty("--card", `${Math.max(across * (side + GAP) + frame - CARD_GAP, Math.min(width, 150))}px`);
  lines = [];
  let top = 0, i = 0;
  while (i < shown.length) {
    const label = index.label[shown[i]];
    let end = i;
    while (end < shown.length && index.label[shown[end]] === label) end++;
    lines.push({top, height: HEADING, label, count: end - i});
    top += HEADING;
    for (; i < end; i += columns, top += height) {
      lines.push({top, height, first: i, end: Math.min(end, i + columns)});
    }
    i = end;
  }
  main.style.height = `${top}px`;
  for (const line of drawn.values()) line.remove();
  drawn.clear();
  render();
}

// How many columns of images the rows have; one as long as nothing is read.
const imageColumns = () => Object.keys((readSample(0) || {columns: {images: 0}}).columns).length;

function render() {
  const offset = main.getBoundingClientRect().top;
  const first = lastUpTo(-offset - AHEAD, lines.length, n => lines[n].top);
  let end = first;
  while (end < lines.length && lines[end].top < innerHeight - offset + AHEAD) end++;
  for (const [n, line] of drawn) {
    if (n < first || n >= end) { line.remove(); drawn.delete(n); }
  }
  let waiting = false;
  for (let n = first; n < end; n++) {
    if (drawn.has(n)) continue;
    const line = drawLine(lines[n]);
    if (line) { drawn.set(n, line); main.append(line); } else waiting = true;
  }
  mark();
  if (waiting) requestAnimationFrame(render);
}

function drawLine(line) {
  const element = make("div", "line");
  element.setAttribute("role", "presentation");
  element.style.top = `${line.top}px`;
  if ("label" in line) {
    const [, name, total] = choices.label[line.label];
    const heading = make("h2", "", name, element);
    make("span", "quiet", partOf(line.count, total, "sample"), heading);
    return element;
  }
  for (let at = line.first; at < line.end; at++) {
    const details = readSample(shown[at]);
    if (!details) return null;
    element.append(drawCard(at, details));
  }
  return element;
}

function drawCard(at, details) {
  const i = shown[at], card = make("div", "card");
  card.id = `sample-${i}`;
  card.setAttribute("role", "option");
  card.setAttribute("aria-setsize", shown.length);
  card.setAttribute("aria-posinset", at + 1);
  const caption = make("div", "caption", undefined, card);
  make("span", "id", index.id[i], caption).title = index.id[i];
  if (choices.split.length > 1) make("span", "quiet", choices.split[index.split[i]][1], caption);
  for (const views of Object.values(details.columns)) {
    const row = make("div", "views", undefined, card);
    views.slice(0, across).forEach((view, n) => row.append(makeView(view, details.names[n])));
    if (views.length > across) make("span", "more", `+${views.length - across}`, row);
  }
  card.addEventListener("click", () => { moveTo(at); openDialog(); });
  return card;
}

function mark() {
  for (const card of main.querySelectorAll("[aria-selected]")) card.removeAttribute("aria-selected");
  const card = shown.length ? $(`sample-${shown[current]}`) : null;
  if (card) card.setAttribute("aria-selected", "true");
  main.setAttribute("aria-activedescendant", card ? card.id : "");
}

const lineOf = at => lines.findLastIndex(line => "first" in line && line.first <= at);

function moveTo(at) {
  if (!shown.length) return;
  current = Math.min(Math.max(at, 0), shown.length - 1);
  const line = lines[lineOf(current)], start = main.getBoundingClientRect().top + scrollY;
  const above = start + line.top - $("filters").offsetHeight - HEADING;
  const below = start + line.top + line.height - innerHeight;
  if (scrollY > above) scrollTo(0, above); else if (scrollY < below) scrollTo(0, below);
  render();
}

// Up and down by lines of samples, past headings.
function moveLines(by) {
  const rows = lines.filter(line => "first" in line);
  const from = rows.findLastIndex(line => line.first <= current);
  const to = rows[Math.min(Math.max(from + by, 0), rows.length - 1)];
  moveTo(Math.min(to.first + current - rows[from].first, to.end - 1));
}

main.addEventListener("keydown", event => {
  if (!shown.length || event.altKey || event.ctrlKey || event.metaKey) return;
  const height = lines[lineOf(current)].height;
  const page = Math.max(1, Math.floor((innerHeight - $("filters").offsetHeight) / height));
  const action = {
    ArrowLeft: () => moveTo(current - 1), ArrowRight: () => moveTo(current + 1),
    ArrowUp: () => moveLines(-1), ArrowDown: () => moveLines(1),
    PageUp: () => moveLines(-page), PageDown: () => moveLines(page),
    Home: () => moveTo(0), End: () => moveTo(shown.length - 1),
    Enter: openDialog, " ": openDialog,
  }[event.key];
  if (action) { event.preventDefault(); action(); }
});

// --- one sample ----------------------------------------------------------------------------------

function openDialog() {
  const i = shown[current], details = readSample(i);
  if (!details) return;
  const full = readJson(`full-${i}`);
  dialog.replaceChildren();
  drawBar(i);
  drawFacts(i, details);
  const images = Object.entries(details.columns);
  for (const [name, views] of images) {
    if (images.length > 1) make("h3", "", name, dialog);
    const figures = make("div", "figures", undefined, dialog);
    views.forEach((view, n) =>
      figures.append(drawFigure(view, details.names[n], full && full[name][n])));
  }
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function drawBar(i) {
  const bar = make("div", "dialog-bar", undefined, dialog);
  make("h2", "", index.id[i], bar).id = "name";
  const button = (text, label, action) => {
    const element = make("button", "", text, bar);
    element.type = "button";
    element.title = label;
    element.setAttribute("aria-label", label);
    element.addEventListener("click", action);
    return element;
  };
  button("\u2190", "Previous sample (left arrow)", () => step(-1)).disabled = current === 0;
  button("\u2192", "Next sample (right arrow)", () => step(1)).disabled =
    current === shown.length - 1;
  button("\u00d7", "Close (Esc)", () => dialog.close()).autofocus = true;
}

function drawFacts(i, details) {
  const facts = make("dl", "facts", undefined, dialog);
  const all = {"class": choices.label[index.label[i]][1], split: choices.split[index.split[i]][1],
               views: number(index.views[i])};
  for (const [name, value] of [...Object.entries(all), ...Object.entries(details.facts)]) {
    const fact = make("div", "", undefined, facts);
    make("dt", "quiet", name, fact);
    make("dd", "", value, fact);
  }
}

function drawFigure(view, name, full) {
  const figure = make("figure"), element = makeView(view, name, full);
  if (element.tagName === "IMG") {
    const [height, width] = view.size.split(" x ").map(Number);
    // Small images as many whole times as large as fits, so that their pixels stay squares.
    const scale = view.whole ? Math.max(1, Math.floor(SMALL / Math.max(width, height))) : 1;
    element.style.width = `${width * scale}px`;
    const zoom = make("button", "zoom", undefined, figure);
    zoom.type = "button";
    zoom.title = "Fit the window, or not";
    zoom.addEventListener("click", () => figure.classList.toggle("actual"));
    zoom.append(element);
  } else {
    figure.append(element);
  }
  const caption = make("figcaption", "", name, figure);
  const facts = view && (view.error || `${view.size.replace("x", "\u00d7")}, ${view.format}, `
    + bytes(view.bytes) + (view.whole || full ? "" : ", shown from its thumbnail"));
  if (facts) make("div", "quiet", facts, caption);
  return figure;
}

const bytes = n => n < 1000 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB`
  : `${(n / 1e6).toFixed(1)} MB`;

function step(by) {
  if (current + by < 0 || current + by >= shown.length) return;
  moveTo(current + by);
  openDialog();
}

dialog.addEventListener("keydown", event => {
  const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (by) { event.preventDefault(); step(by); }
});
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });

// --- start ---------------------------------------------------------------------------------------

$("title").textContent = index.title;
$("totals").textContent = index.totals.join(" \u00b7 ");
for (const note of index.notes) make("p", "note", note, $("notes"));
makeHistogram("Classes", "label", "sample");
makeHistogram("Views per sample", "views", "sample");
makeHistogram("Image sizes (height x width)", "size", "image");
makeFilters();
show();
addEventListener("scroll", render, {passive: true});
new ResizeObserver(layOut).observe(document.body);
document.addEventListener("DOMContentLoaded", layOut);
