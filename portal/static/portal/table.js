// Rows that open, and deeds for ticked rows.
//   <tr data-href="/jobs/7/">                  opens on click and on Enter; keep a real link in it for all others
//   <form data-bulk> … <input type="checkbox" name="ids"> … <div data-bulk-bar hidden> <b data-bulk-count></b> …

const OWN = "a, button, input, select, textarea, label, summary, [popover]"; // these answer for themselves

function open(row, event) {
  if (event.metaKey || event.ctrlKey) window.open(row.dataset.href, "_blank", "noopener");
  else location.assign(row.dataset.href);
}

document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-href]");
  if (!row || event.target.closest(OWN) || !getSelection().isCollapsed) return;
  open(row, event);
});

document.addEventListener("keydown", (event) => {
  const row = event.target.closest?.("tr[data-href]");
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
