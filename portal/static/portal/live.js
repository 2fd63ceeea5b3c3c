// Parts that htmx keeps fresh: they stay calm (focus, scroll and open details survive, equal answers change
// nothing), rest while the tab is hidden, and say how old their news is.

const TICK = 1000;
const words = JSON.parse(document.getElementById("ago-texts")?.textContent ?? "{}");
const answers = new WeakMap(); // part → its last answer
let kept = null;

// ── Times ──────────────────────────────────────────────────────────────────
const STEPS = [["days", 86400], ["hours", 3600], ["minutes", 60], ["seconds", 1]];
const MONTH = 30 * 86400;

function ago(seconds) {
  const size = Math.abs(seconds);
  if (size < 1) return words.now;
  const [name, unit] = STEPS.find(([, unit]) => size >= unit);
  return words[seconds > 0 ? name : `in_${name}`].replace("%s", Math.floor(size / unit));
}

function tellTimes() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
    if (Math.abs(seconds) <= MONTH) say(time, ago(Math.trunc(seconds)));
  }
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ── "updated 3 s ago" ──────────────────────────────────────────────────────
// The age is the server's own (served − as of) plus the time since the part arrived here: clocks may disagree.
function tellNews() {
  for (const line of document.querySelectorAll("[data-live]")) {
    const { asOf, served, stale, freshText, staleText } = line.dataset;
    if (!asOf) continue;
    line.arrivedAt ??= performance.now();
    const age = (Date.parse(served) - Date.parse(asOf) + performance.now() - line.arrivedAt) / 1000;
    const old = age > Number(stale);
    if (line.classList.contains("live-stale") !== old) {
      line.classList.toggle("live-stale", old);
      line.setAttribute("aria-live", old ? "polite" : "off"); // told once, not every second
    }
    const time = new Date(Date.now() - age * 1000).toLocaleTimeString(document.documentElement.lang, {
      hour: "2-digit",
      minute: "2-digit",
      hour12: false,
    });
    const text = old ? staleText.replace("{time}", time) : freshText.replace("{ago}", ago(Math.trunc(age)));
    say(line.querySelector("[data-live-words]"), text);
  }
}

function tell() {
  if (document.hidden) return;
  tellTimes();
  tellNews();
}

setInterval(tell, TICK);
document.addEventListener("visibilitychange", tell);
tell();

// ── Polled parts ───────────────────────────────────────────────────────────
const polled = (part) => /\bevery\b/.test(part.getAttribute("hx-trigger") ?? "");

document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, requestConfig } = event.detail;
  if (document.hidden && requestConfig.triggeringEvent === undefined && polled(elt)) event.preventDefault();
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, elt, xhr } = event.detail;
  if (!polled(elt) || !event.detail.shouldSwap) return;
  if (answers.get(target) === xhr.responseText || selecting(target)) {
    event.detail.shouldSwap = false;
    return;
  }
  answers.set(target, xhr.responseText);
  kept = keep(target);
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (kept) restore(kept);
  kept = null;
  tell();
  focusErrors(event.detail.target);
});

// Whoever is marking text to copy it, or has a menu open, is not interrupted; the next poll catches up.
function selecting(part) {
  const selection = getSelection();
  const marked = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  return marked || part.querySelector(".dropdown-menu.show, [popover]:popover-open") !== null;
}

function keep(part) {
  return {
    open: [...part.querySelectorAll("details[id]")].map(({ id, open }) => ({ id, open })),
    scroll: [...part.querySelectorAll("[data-keep-scroll][id]")].map(({ id, scrollTop, scrollLeft }) => ({
      id,
      scrollTop,
      scrollLeft,
    })),
  };
}

function restore({ open, scroll }) {
  for (const { id, ...state } of [...open, ...scroll]) Object.assign(document.getElementById(id) ?? {}, state);
}

// ── A form that came back ──────────────────────────────────────────────────
function focusErrors(part) {
  part.querySelector("[data-focus]")?.focus();
}
focusErrors(document);
