// The page of `brain-tumor serve`: sends files one after another, and lists the answers in a table.
// An entry is what became of a file or series, a row a line of the table: a picture, a volume, or an error.

import { csv, json, save } from "./download.js";
import { byId, make, open, percent, volumesOf } from "./viewer.js";

const MOST_BYTES = 64e6;  // of a request, as the server has it
const SERIES_UID = /\x20\0\x0e\0(?:UI..|..\0\0)([\d.]+)/s;  // tag (0020,000E) of DICOM with its length and value

const entries = [], rows = [], queue = [];
const count = { files: 0, done: 0, failed: 0 };
let busy = false;

// Sending

async function add(files) {
  const groups = await together(files);
  if (!busy) Object.assign(count, { files: 0, done: 0, failed: 0 });
  count.files += files.length;
  queue.push(...groups);
  if (!busy && queue.length) await work();
}

async function together(files) {
  const groups = new Map();
  for (const file of files) {
    const key = await seriesOf(file) ?? file;
    groups.set(key, [...groups.get(key) ?? [], file]);
  }
  return [...groups.values()];
}

async function seriesOf(file) {
  const content = await file.slice(0, 65536).arrayBuffer().catch(() => new ArrayBuffer(0));  // sending it tells why
  const head = new TextDecoder("latin1").decode(content);
  return head.startsWith("DICM", 128) ? head.match(SERIES_UID)?.[1] : undefined;
}

async function work() {
  busy = true;
  let first = true;
  while (queue.length) {
    const files = queue.shift(), entry = { file: nameOf(files) };
    tell(`Working on ${entry.file} (${count.done + 1} of ${count.files})`);
    try { entry.answer = await ask(files); }
    catch (error) { entry.error = error.message; count.failed += files.length; }
    count.done += files.length;
    const listed = list(entry).find(row => row.answer);
    if (first && listed) { open(listed); first = false; }
  }
  busy = false;
  tell(count.done + (count.done === 1 ? " file" : " files") + " done" + (count.failed ? `, ${count.failed} could not be read` : "") + ".");
}

function nameOf(files) {
  return files[0].name + (files.length > 1 ? ` and ${files.length - 1} more` : "");
}

function tell(text) {
  byId("status").textContent = text;
  Object.assign(byId("progress"), { max: count.files, value: count.done, hidden: !busy });
}

async function ask(files) {
  const request = { method: "POST", body: files[0], headers: { "Content-Type": "application/octet-stream" } };
  if (files.length > 1) {
    if (files.reduce((sum, file) => sum + file.size, 0) > MOST_BYTES)
      throw new Error(`the ${files.length} files of this series have more than ${MOST_BYTES / 1e6} MB: use brain-tumor predict`);
    request.body = new FormData();
    for (const file of files) request.body.append("file", file, "file");  // without its name, which is not wanted
    delete request.headers;
  }
  const response = await fetch("api/predict?images=true", request);
  const answer = await response.json().catch(() => ({ detail: "the server gave no answer" }));
  if (!response.ok) throw new Error(typeof answer.detail === "string" ? answer.detail : "the request was refused");
  return answer;
}

// Table

function list(entry) {
  entries.push(entry);
  const made = entry.error ? [{ title: entry.file, error: entry.error }] : rowsOf(entry);
  for (const row of made) row.line = lineOf(row);
  rows.push(...made);
  byId("results").hidden = false;
  sort();
  return made;
}

function rowsOf({ file, answer }) {
  const volumes = volumesOf(answer), numbers = new Set(volumes.map(one => one.volume_number));
  const title = one => file + (one.volume_number === null ? "" : `, volume ${one.volume_number}`);
  const slices = one => answer.pictures.filter(picture => picture.volume_number === one.volume_number);
  return [...volumes.map(one => ({ title: title(one), answer: one, slices: slices(one) })),
    ...answer.pictures.filter(one => !numbers.has(one.volume_number)).map(one => ({ title: title(one), answer: one }))];
}

function lineOf(row) {
  const name = row.error ? row.title : make("button", { type: "button", onclick: () => open(row) }, row.title);
  const line = make("tr", {}, make("th", { scope: "row" }, name));
  row.values = [row.title, ...row.error ? [row.error] : valuesOf(row.answer)];
  if (row.error) line.append(make("td", { className: "error", colSpan: 4 }, row.error));
  else line.append(...cellsOf(row.answer, row.values));
  return line;
}

function valuesOf({ in_distribution, label, probability, prediction_set, extent, reason }) {
  if (!in_distribution) return [`not like the training images: ${reason}`];
  return [label, probability, prediction_set?.join(", "), extent?.slices.length];
}

function cellsOf(answer, [, told, probability, possible, slices]) {
  if (!answer.in_distribution) return [make("td", { className: "unlike", colSpan: 4 }, told)];
  return [make("td", {}, told), make("td", { className: "number" }, percent(probability)),
    make("td", { className: "wide" }, possible ?? "–"), make("td", { className: "number" }, slices ?? "–")];
}

const heads = [...document.querySelectorAll("#table thead th")];
const order = { column: undefined, sign: 1 };

function sort() {
  const sorted = order.column === undefined ? rows : [...rows].sort(compare);
  byId("table").tBodies[0].replaceChildren(...sorted.map(row => row.line));
}

function compare(one, other) {
  const [a, b] = [one, other].map(row => row.values[order.column]);
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
  return order.sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
}

function sortBy(column) {
  order.sign = order.column === column ? -order.sign : 1;
  order.column = column;
  heads.forEach(head => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
  sort();
}

// What people do

const drop = byId("drop"), chooser = byId("files");

async function within(entry) {
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader(), found = [];
  for (let some; !some || some.length; found.push(...some))  // a browser tells a hundred at a time
    some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  return (await Promise.all(found.map(within))).flat();
}

async function addDropped(transfer) {
  const dropped = [...transfer.items].map(item => item.webkitGetAsEntry()).filter(Boolean);
  add((await Promise.all(dropped.map(within))).flat());
}

async function addExample() {
  const response = await fetch("example.png");
  add([new File([await response.blob()], "example.png")]);
}

chooser.addEventListener("change", () => { add([...chooser.files]); chooser.value = ""; });
drop.addEventListener("drop", event => addDropped(event.dataTransfer));
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  drop.addEventListener(name, event => { event.preventDefault(); drop.classList.toggle("over", /enter|over/.test(name)); });
byId("example").addEventListener("click", addExample);
heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => sortBy(column)));
byId("csv").addEventListener("click", () => save("brain-tumor.csv", "text/csv", csv(entries)));
byId("json").addEventListener("click", () => save("brain-tumor.json", "application/json", json(entries)));
