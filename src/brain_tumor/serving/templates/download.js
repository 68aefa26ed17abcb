// What is downloaded: the columns of `brain-tumor predict --csv`, or the answers of the API without their pictures.

import { make, volumesOf } from "./viewer.js";

export function csv(entries) {
  const answered = entries.filter(entry => entry.answer);
  const classes = answered.length ? Object.keys(answered[0].answer.pictures[0].probabilities) : [];
  const head = ["file", "slice", "class", ...classes, "prediction_set", "in_distribution", "ood_score", "volume_number", "tumour_slices"];
  const lines = answered.flatMap(({ file, answer }) => [
    ...answer.pictures.map(one => values(file, one.slice, one)), ...volumesOf(answer).map(one => values(file, "volume", one))]);
  return [head, ...lines].map(line => line.map(quoted).join(",") + "\n").join("");
}

function values(file, place, answer) {
  return [file, place, answer.label, ...Object.values(answer.probabilities).map(value => value.toFixed(6)),
    (answer.prediction_set ?? []).join(" "), answer.in_distribution ? "yes" : "no", answer.ood_score.toFixed(4),
    answer.volume_number, (answer.extent?.slices ?? []).join(" ")];
}

function quoted(value) {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function json(entries) {
  const plain = entries.map(({ file, answer, error }) => error ? { file, error } : { file, ...answer });
  return JSON.stringify(plain, (key, value) => key === "picture" || key === "heat_map" ? undefined : value, 1);
}

export function save(name, type, text) {
  const href = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
}
