// A log that grows: it follows its end while "Follow" is on and stays where one reads otherwise. Search marks
// without touching the text (CSS highlights), so that new lines never disturb it.

function start(log) {
  const text = log.querySelector("[data-log-text]");
  const follow = log.querySelector("[data-log-follow]");
  const search = log.querySelector("[data-log-search]");
  const count = log.querySelector("[data-log-count]");
  let top = 0; // where one was reading
  let hits = [];
  let at = 0;

  const toEnd = () => (text.scrollTop = text.scrollHeight);
  const atEnd = () => text.scrollHeight - text.clientHeight - text.scrollTop < 24;

  function grown() {
    if (follow.checked) toEnd();
    else text.scrollTop = top;
    if (search.value) find(false);
  }

  function find(jump = true) {
    hits = ranges(text, search.value);
    at = Math.min(at, Math.max(hits.length - 1, 0));
    if (jump) at = 0;
    mark(jump);
  }

  function mark(jump) {
    if (CSS.highlights) {
      CSS.highlights.set("log-hit", new Highlight(...hits));
      CSS.highlights.set("log-here", new Highlight(...hits.slice(at, at + 1)));
    }
    count.textContent = !search.value
      ? ""
      : hits.length
        ? count.dataset.text.replace("{at}", at + 1).replace("{all}", hits.length)
        : count.dataset.none;
    if (jump && hits.length) show(hits[at]);
  }

  function show(range) {
    follow.checked = false;
    const box = text.getBoundingClientRect();
    text.scrollTop += range.getBoundingClientRect().top - box.top - box.height / 3;
    top = text.scrollTop;
  }

  text.addEventListener("scroll", () => {
    if (!atEnd() && follow.checked && text.scrollTop < top) follow.checked = false; // scrolled back to read
    top = text.scrollTop;
  });
  follow.addEventListener("change", () => follow.checked && toEnd());
  log.querySelector("[data-log-wrap]").addEventListener("change", (event) => {
    text.classList.toggle("log-wrapped", event.target.checked);
    grown();
  });
  search.addEventListener("input", () => find());
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // Enter is "next", Shift-Enter "previous"; never the form's submit
    if (!hits.length) return;
    at = (at + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
    mark(true);
  });
  new MutationObserver(grown).observe(text, { childList: true, characterData: true, subtree: true });
  grown();
}

function ranges(text, wanted) {
  const needle = wanted.toLowerCase();
  if (!needle) return [];
  const found = [];
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const hay = node.data.toLowerCase();
    if (hay.length !== node.data.length) continue; // a letter that grows in lower case would shift every mark
    for (let i = hay.indexOf(needle); i !== -1; i = hay.indexOf(needle, i + needle.length)) {
      const range = new Range();
      range.setStart(node, i);
      range.setEnd(node, i + needle.length);
      found.push(range);
    }
  }
  return found;
}

document.querySelectorAll("[data-log]").forEach(start);
