/* Keeps a page up to date: times in the reader's zone, money that counts on, and fresh rows every few seconds.
   The page works without it; every word and number comes from the server. */
import { moneyText } from "./money.js";

const EVERY_MS = 5000;
const CHANGING_MS = 1500;
const MISSED_MAX = 2;
const HOUR_MS = 3600000;
const DAY_MS = 24 * HOUR_MS;
const byId = (id) => document.getElementById(id);

document.documentElement.classList.add("vessl-js");

/* -- times ----------------------------------------------------------------- */

const time = { hour: "2-digit", minute: "2-digit" };
const clock = new Intl.DateTimeFormat([], time);
const inWeek = new Intl.DateTimeFormat([], { weekday: "short", ...time });
const inMonths = new Intl.DateTimeFormat([], { day: "numeric", month: "short", ...time });
const inWords = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long", ...time });
const inWordsAndYears = new Intl.DateTimeFormat([], { dateStyle: "full", timeStyle: "short" });
const inYears = new Intl.DateTimeFormat([], { day: "numeric", month: "short", year: "numeric" });

function timeText(iso) {
  const at = new Date(iso);
  const now = new Date();
  const away = Math.abs(at - now);
  if (at.toDateString() === now.toDateString()) return clock.format(at);
  return (away < 6 * DAY_MS ? inWeek : away < 300 * DAY_MS ? inMonths : inYears).format(at);
}

function timeInWords(iso) {
  const at = new Date(iso);
  return (Math.abs(at - new Date()) < 300 * DAY_MS ? inWords : inWordsAndYears).format(at);
}

function localize(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    element.textContent = ("words" in element.dataset ? timeInWords : timeText)(element.dateTime);
  }
}

/* -- money that counts on between two answers -------------------------------- */

let answeredAt = performance.now();

function count() {
  const passed = performance.now() - answeredAt;
  for (const element of document.querySelectorAll(".vessl-money[data-rate]")) {
    const { micros, rate, symbol, unit } = element.dataset;
    const now = Number(micros) + (Number(rate) * passed) / HOUR_MS;
    const text = moneyText(now, symbol, unit);
    if (element.textContent !== text) element.textContent = text;
  }
}

/* -- fresh rows: what has changed is changed in place, so focus and open details stay -------------------- */

function sameThing(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
}

/* the reason why something was refused stays until the page is left */
const stays = (node) => node instanceof Element && node.hasAttribute("data-keep");

function update(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const kept = new Set();
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    while (stays(place)) place = place.nextSibling;
    const named = child.id && [...old.children].find((c) => c.id === child.id);
    let match = named || (place && sameThing(place, child) && !kept.has(place) ? place : null);
    if (match) {
      if (match !== place) old.insertBefore(match, place);
      update(match, child);
    } else {
      match = old.insertBefore(document.importNode(child, true), place);
    }
    kept.add(match);
    place = match.nextSibling;
  }
  while (place) {
    const next = place.nextSibling;
    if (!stays(place)) place.remove();
    place = next;
  }
}

function states() {
  return new Map([...document.querySelectorAll("[data-news]")].map((row) => [row.id, row.dataset.news]));
}

function show(page) {
  const before = states();
  const row = document.activeElement?.closest("[data-news]");
  for (const old of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(old.id);
    if (fresh) {
      localize(fresh);
      update(old, fresh);
    }
  }
  // where the focused button is gone, the reader stays at the same row, on something that does no harm
  if (row?.isConnected && !row.contains(document.activeElement)) (row.querySelector("summary") ?? row).focus();
  const news = [...states()].filter(([id, text]) => before.get(id) !== text).map(([, text]) => text);
  if (news.length) byId("vessl-news").textContent = news.join(". ");
}

/* -- asking ------------------------------------------------------------------ */

let missed = 0;
let upToDateAt = new Date();
let timer = 0;

async function refresh() {
  window.clearTimeout(timer);
  if (document.visibilityState !== "visible") return;
  try {
    const answer = await fetch(document.body.dataset.address, {
      headers: { "X-XSRFToken": document.body.dataset.xsrf },
      redirect: "error",
      signal: AbortSignal.timeout(10000),
    });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    answeredAt = performance.now();
    upToDateAt = new Date();
    missed = 0;
    show(page);
    byId("vessl-stale").hidden = true;
  } catch {
    missed += 1;
    const stale = byId("vessl-stale");
    const text = `Not up to date since ${clock.format(upToDateAt)}. Load the page again to see what is new.`;
    if (missed >= MISSED_MAX && stale.hidden) {
      stale.hidden = false;
      stale.textContent = text;
    }
  }
  schedule();
}

function schedule() {
  window.clearTimeout(timer);
  const wait = document.querySelector("[data-changing]") && !missed ? CHANGING_MS : EVERY_MS;
  timer = window.setTimeout(refresh, wait);
}

/* -- a form is sent once, and says that it was ---------------------------------- */

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (event.target.method !== "post" || !button) return;
  if (button.getAttribute("aria-disabled")) {
    event.preventDefault();
    return;
  }
  button.setAttribute("aria-disabled", "true");
  button.classList.add("disabled");
  byId("vessl-news").textContent = `${button.textContent.trim()}: one moment.`;
  window.clearTimeout(timer);
});

window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});

localize(document);
window.setInterval(count, 1000);
if (document.body.dataset.address) {
  document.addEventListener("visibilitychange", refresh);
  schedule();
}
