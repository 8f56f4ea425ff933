// The page at /: shows /api/summary, which it brings along, and again whenever /api/changes says that something happened.
// All text goes in as text nodes; attributes of objects are never markup.
import { forGood, forNow } from "./kept.js";
import { WORDS } from "./words.js";

const REFRESH_MILLISECONDS = 1000; // at most one refresh in this time, however many changes come
const RETRY_MILLISECONDS = 3000;
const CELL_CHARACTERS_MAX = 100;

const at = (id) => document.getElementById(id);
let language = forGood.getItem("language") ?? document.documentElement.lang;
let pictures = new Map(); // study UID and count of instances -> its img
let looking = null; // the refresh that is due while rules are at work
let known = null; // study UIDs that were in the list before

// The store that is shown, of ?store=NAME; main without.
const store = new URLSearchParams(location.search).get("store") ?? "";
let shown = store ? null : JSON.parse(at("summary").textContent); // the last summary; the first came with the page
const prefix = new URL("..", import.meta.url).pathname.slice(0, -1); // of a proxy in front
const inStore = (path) => prefix + (store ? `/stores/${encodeURIComponent(store)}` : "") + path;

const word = (key) => (WORDS[language] ?? WORDS.en)[key];

function headers(more = {}) {
  const token = forNow.getItem("token");
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

function translate() {
  document.documentElement.lang = language;
  at("language").value = language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  if (shown) show(shown);
}

function state(kind, text) {
  at("state").className = kind;
  at("state-text").textContent = text;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const power = bytes > 0 ? Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3)) : 0;
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: power ? 1 : 0 });
  return `${number.format(bytes / 1000 ** power)} ${units[power]}`;
}

// DA as the reader's language writes dates; anything else, and what is no day of the calendar, as it is.
function day(text) {
  const match = /^(\d{4})(\d{2})(\d{2})$/.exec(text ?? "");
  if (!match) return text ?? "";
  const [year, month, date] = match.slice(1).map(Number);
  const found = new Date(2000, 0);
  found.setFullYear(year, month - 1, date); // not by the constructor, to which years up to 99 are of the last century
  return found.getMonth() === month - 1 && found.getDate() === date
    ? found.toLocaleDateString(language, { dateStyle: "medium" }) : text;
}

// A cell is for a look: objects may hold thousands of characters.
function clipped(text) {
  const characters = [...(text ?? "")];
  return characters.length > CELL_CHARACTERS_MAX ? `${characters.slice(0, CELL_CHARACTERS_MAX).join("")}…` : text ?? "";
}

// Family^Given^Middle^Prefix^Suffix of the first group that has a name.
function person(text) {
  const [family = "", given = "", middle = ""] = ((text ?? "").split("=").find(Boolean) ?? "").split("^");
  return [family, [given, middle].filter(Boolean).join(" ")].filter(Boolean).join(", ");
}

// The study's thumbnail; kept while it is the same, so that a refresh does not load it again.
function picture(study) {
  const key = `${study.study} ${study.instances}`;
  const image = pictures.get(key) ?? document.createElement("img");
  image.alt = `${word("thumbnail")}: ${clipped(person(study.name) || study.id || study.study)}`;
  if (!pictures.has(key)) {
    image.width = image.height = 48;
    image.loading = "lazy";
    image.addEventListener("error", () => { image.hidden = true; });
    load(image, inStore(`/dicom-web/studies/${encodeURIComponent(study.study)}/thumbnail?viewport=96,96`));
  }
  return [key, image];
}

// An img can't send a token, so then its bytes come by fetch.
async function load(image, address) {
  if (!forNow.getItem("token")) {
    image.src = address;
    return;
  }
  const answer = await fetch(address, { headers: headers({ Accept: "image/jpeg" }) }).catch(() => null);
  if (!answer?.ok) {
    image.hidden = true;
    return;
  }
  const reader = new FileReader();
  reader.addEventListener("load", () => { image.src = reader.result; });
  reader.readAsDataURL(await answer.blob());
}

function row(study) {
  const element = document.createElement("tr");
  const [key, image] = picture(study);
  const first = element.appendChild(document.createElement("td"));
  first.className = "picture";
  first.appendChild(image);
  pictures.set(key, image);
  const cells = [day(study.date), person(study.name), study.id, study.description,
    (study.modalities ?? "").replaceAll("\\", ", "), new Intl.NumberFormat(language).format(study.instances ?? 0)];
  for (const text of cells) element.appendChild(document.createElement("td")).textContent = clipped(text);
  element.lastChild.className = "number";
  element.title = study.study;
  if (known && !known.has(study.study)) element.className = "new";
  return element;
}

// Only when there are rules. What they could not do is no change, so look again while they have something before them.
function showTranscoding(told, number) {
  at("transcoding").hidden = !told;
  if (!told) return;
  const parts = [[word("rules"), told.rules], [word("transcoded"), told.done], [word("untranscoded"), told.failed]];
  at("transcoding").textContent = parts.map(([text, count]) => `${text}: ${number.format(count)}`).join(" · ");
  if (told.waiting && !looking) looking = setTimeout(() => { looking = null; refresh().catch(() => {}); }, RETRY_MILLISECONDS);
}

function show(summary) {
  shown = summary;
  const number = new Intl.NumberFormat(language);
  at("aet").textContent = summary.aet || "–";
  at("sending").hidden = !summary.aet; // only nodes of its own work in a store that no title calls
  at("dimse").textContent = summary.dimse_port;
  at("web").textContent = location.origin + inStore("/dicom-web");
  at("store-choice").hidden = summary.stores.length < 2;
  at("store-name").replaceChildren(...summary.stores.map((name) => new Option(name, name, false, name === summary.store)));
  const [dcmtk, own] = summary.senders;
  at("dcmtk").textContent =
    `${dcmtk} -aec ${summary.aet} ${summary.host} ${summary.dimse_port} +sd +r ${word("folder")}`;
  const host = summary.host.includes(":") ? `[${summary.host}]` : summary.host;
  at("store").textContent = `${own} ${summary.aet}@${host}:${summary.dimse_port} ${word("folder")}`;
  const one = { studies: word("study"), series: word("oneSeries"), instances: word("instance") };
  for (const name of Object.keys(one)) {
    at(name).textContent = number.format(summary[name]);
    at(name).nextElementSibling.textContent = summary[name] === 1 ? one[name] : word(name);
  }
  at("bytes").textContent = size(summary.bytes);
  showTranscoding(summary.transcoding, number);
  at("warning").hidden = summary.durability === "full";
  at("warning").textContent = word("notDurable");
  at("latest").hidden = summary.latest.length === 0;
  at("empty").hidden = summary.latest.length > 0;
  at("latest").tBodies[0].replaceChildren(...summary.latest.map(row));
  const kept = summary.latest.map((study) => `${study.study} ${study.instances}`);
  pictures = new Map(kept.map((key) => [key, pictures.get(key)]));
  known = new Set(summary.latest.map((study) => study.study));
  if (summary.ready.length) state("bad", `${word("notReady")}: ${summary.ready.join("; ")}`);
  else state("good", word("ready"));
}

async function refresh() {
  const answer = await fetch(inStore("/api/summary"), { headers: headers() });
  const refused = answer.status === 401 || answer.status === 403; // 403: a token of another store
  at("sign-in").hidden = !refused;
  at("metrics").hidden = refused || forNow.getItem("token") !== null; // a link can't send a token
  if (refused) {
    state("bad", forNow.getItem("token") ? word("refused") : word("token"));
    return null;
  }
  if (!answer.ok) throw new Error(answer.status);
  const summary = await answer.json();
  show(summary);
  return summary.cursor;
}

// fetch instead of EventSource: that one can't send a token.
async function follow(cursor) {
  const address = inStore(`/api/changes?since=${encodeURIComponent(cursor)}`);
  const answer = await fetch(address, { headers: headers({ Accept: "text/event-stream" }) });
  if (!answer.ok) throw new Error(answer.status);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    if (!value.includes("data:") || waiting) continue;
    waiting = setTimeout(() => { waiting = null; refresh().catch(() => {}); }, REFRESH_MILLISECONDS);
  }
}

async function live() {
  for (;;) {
    try {
      const cursor = await refresh();
      if (cursor === null) return; // waits for the token
      await follow(cursor);
    } catch {
      state("bad", word("away"));
    }
    await new Promise((resume) => setTimeout(resume, RETRY_MILLISECONDS));
  }
}

at("language").addEventListener("change", (event) => {
  language = event.target.value;
  forGood.setItem("language", language);
  translate();
});
at("store-name").addEventListener("change", (event) => {
  location.search = event.target.value === "main" ? "" : `?store=${encodeURIComponent(event.target.value)}`;
});
at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  forNow.setItem("token", at("token").value);
  at("token").value = "";
  live();
});
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const line = at(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(line.textContent);
    } catch { // no clipboard without HTTPS, but on loopback: mark the line, for Ctrl+C
      getSelection().selectAllChildren(line);
      return;
    }
    button.textContent = word("copied");
    setTimeout(() => { button.textContent = word("copy"); }, 1500);
  });
}
translate();
live();
