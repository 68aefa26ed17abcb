// The answer that is looked at: a picture, or the slices of a volume with a slider along the probability of a tumour.

const HEALTHY = "notumor";

export const byId = id => document.getElementById(id);
export const percent = value => (100 * value).toFixed(1) + " %";
export const volumesOf = answer => answer.volume ? [answer.volume] : answer.volumes;
const tumour = answer => 1 - answer.probabilities[HEALTHY];
let opened = null;

export function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function open(row) {
  opened?.line.removeAttribute("aria-current");
  opened = row;
  row.line.setAttribute("aria-current", "true");
  byId("viewer").hidden = false;
  byId("title").textContent = row.title + (row.slices ? ": whole volume" : "");
  byId("volume").hidden = !row.slices;
  byId("whole").replaceChildren(...row.slices ? verdict(row.answer) : []);
  if (row.slices) openVolume(row);
  else look(row.answer, row.title, []);
}

function openVolume(row) {
  const marked = new Set(row.answer.extent?.slices), pictured = row.slices.filter(slice => slice.picture);
  row.pictured = pictured.length ? pictured : row.slices;
  Object.assign(byId("slice"), { max: row.pictured.length - 1, value: row.pictured.indexOf(surest(row.pictured, marked)) });
  drawCurve(row.slices, marked);
  lookAtSlice();
}

function surest(slices, marked) {
  const rank = slice => marked.has(slice.slice) + slice.in_distribution + tumour(slice) / 2;
  return slices.reduce((best, one) => rank(one) > rank(best) ? one : best);
}

function drawCurve(slices, marked) {
  const width = 100 / slices.length, place = index => (index + 0.5) * width;
  const shaded = slices.map((slice, index) => marked.has(slice.slice) ? `M${index * width} -4h${width}v108h${-width}z` : "");
  const points = slices.map((slice, index) => slice.in_distribution ? `${place(index)} ${100 - 100 * tumour(slice)}` : null);
  const drawn = points.map((point, index) => point && (points[index - 1] ? `L${point}` : `M${point}L${point}`));
  byId("marks").setAttribute("d", shaded.join(""));
  byId("line").setAttribute("d", drawn.join(""));
  const found = marked.size ? extentOf(opened.answer.extent) : "No slice shows a tumour.";
  byId("curve").setAttribute("aria-label", `Probability of a tumour along ${slices.length} slices. ${found}`);
}

function lookAtSlice() {
  const slider = byId("slice"), { slices, pictured, answer } = opened, slice = pictured[slider.value];
  const shows = answer.extent?.slices.includes(slice.slice) ? ", shows a tumour" : "";
  const title = `Slice ${slice.slice}${shows}`, place = (slices.indexOf(slice) + 0.5) * 100 / slices.length;
  byId("here").setAttribute("d", `M${place} -4V104`);
  look(slice, title, [make("h3", {}, title)]);
  const told = slice.in_distribution ? `${slice.label}, ${percent(slice.probability)}` : "not like the training images";
  slider.setAttribute("aria-valuetext", `${slice.slice}: ${told}${shows}`);
  byId("place").textContent = `${slice.slice}: ${told}${shows}`;
}

function look(answer, title, heading) {
  const source = content => content ? "data:image/png;base64," + content : "";
  const mapped = answer.in_distribution && answer.heat_map;
  document.querySelector("figure").hidden = !answer.picture;
  Object.assign(byId("grey"), { src: source(answer.picture), alt: title });
  Object.assign(byId("heat"), { src: source(answer.heat_map), alt: `Heat map: places that speak for ${answer.label}`, hidden: !mapped });
  byId("strength").disabled = !mapped;
  byId("told").replaceChildren(...heading, ...verdict(answer));
}

function verdict(answer) {
  if (!answer.in_distribution) return [make("p", { className: "class unlike" }, "Not like the training images"),
    make("p", {}, `The model cannot tell anything about it: ${answer.reason}.`)];
  const lines = [answer.prediction_set && `Cannot be ruled out at 95 %: ${answer.prediction_set.join(", ")}`,
    answer.extent && extentOf(answer.extent)];
  return [make("p", { className: "class" }, `${answer.label}, ${percent(answer.probability)}`),
    ...lines.filter(Boolean).map(line => make("p", {}, line)), probabilities(answer)];
}

function extentOf({ slices, first, last, share, millimetres }) {
  const length = millimetres === null ? "" : `, ${millimetres} mm`;
  return `Tumour in ${slices.length} slices, ${first} to ${last}: ${percent(share)} of the head${length}.`;
}

function probabilities(answer) {
  return make("table", {}, ...Object.entries(answer.probabilities).map(([name, value]) => make("tr", {},
    make("th", { scope: "row" }, name),
    make("td", { className: "bar" }, make("meter", { value, ariaLabel: `${name} ${percent(value)}` })),
    make("td", { className: "number" }, percent(value)))));
}

byId("slice").addEventListener("input", lookAtSlice);
byId("curve").addEventListener("click", event => {
  byId("slice").value = Math.floor(event.offsetX / byId("curve").clientWidth * opened.pictured.length);
  lookAtSlice();
});
const fade = () => { byId("heat").style.opacity = byId("strength").value / 100; };
byId("strength").addEventListener("input", fade);
fade();
