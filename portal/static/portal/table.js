// Rows that open, and deeds for ticked rows.
//   <tr data-opens> … <a href="/jobs/7/">      opens its first link on click and on Enter
//   <form data-bulk> … <input type="checkbox" name="ids"> … <div data-bulk-bar hidden> <b data-bulk-count></b> …

const OWN = "a, button, input, select, textarea, label, summary, [popover]"; // these answer for themselves

function open(row, event) {
  const { href } = row.querySelector("th a[href], a[href]");
  if (event.metaKey || event.ctrlKey) window.open(href, "_blank", "noopener");
  else location.assign(href);
}

document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-opens]");
  if (!row || event.target.closest(OWN) || !getSelection().isCollapsed) return;
  open(row, event);
});

document.addEventListener("keydown", (event) => {
  const row = event.target.closest?.("tr[data-opens]");
  if (event.key !== "Enter" || !row || event.target.closest(OWN)) return;
  open(row, event);
});

function count(form) {
  const boxes = [...form.querySelectorAll('td input[type="checkbox"]')];
  const ticked = boxes.filter((box) => box.checked).length;
  const all = form.querySelector("[data-bulk-all]");
  if (all) Object.assign(all, { checked: ticked > 0 && ticked === boxes.length, indeterminate: ticked > 0 && ticked < boxes.length });
  form.querySelector("[data-bulk-bar]").hidden = ticked === 0;
  form.querySelector("[data-bulk-count]").textContent = ticked;
}

document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-bulk]");
  if (!form || event.target.type !== "checkbox") return;
  if (event.target.matches("[data-bulk-all]"))
    for (const box of form.querySelectorAll('td input[type="checkbox"]')) box.checked = event.target.checked;
  count(form);
});

for (const form of document.querySelectorAll("form[data-bulk]")) count(form);

// A table that scrolls can be scrolled by keyboard, too.
const scrolls = new ResizeObserver((seen) => {
  for (const { target: box } of seen) {
    const isLonger = box.scrollHeight > box.clientHeight || box.scrollWidth > box.clientWidth;
    if (isLonger) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
});
for (const box of document.querySelectorAll(".table-scroll, .table-responsive")) scrolls.observe(box);
