// The submit page: what the script says fills fields that are still empty, the button sends once, and the hint
// under the GPUs follows the chosen partition.

const form = document.querySelector("[data-submit]");

// The check answers with an event when the chosen script says something of fields that nobody has filled.
document.body.addEventListener("prefill", ({ detail }) => {
  let filled = false;
  for (const [name, value] of Object.entries(detail)) filled = fill(form.elements[name], value) || filled;
  if (filled) form.dispatchEvent(new Event("change", { bubbles: true }));
});

function fill(control, value) {
  if (!control || control.value) return false; // of radio buttons, `value` is the chosen one's
  control.value = value;
  if (control instanceof Element) control.dispatchEvent(new Event("input", { bubbles: true }));
  return control.value === value;
}

// A second press would ask for a second job; the server knows it is the same one, the person should, too.
form?.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.submitter?.matches("[data-sample]")) return;
  const button = form.querySelector("[data-submit-button]");
  setTimeout(() => (button.disabled = true));
  window.addEventListener("pageshow", () => (button.disabled = false), { once: true });
});

function hint() {
  const chosen = form.querySelector("[name=partition]:checked");
  const line = form.querySelector("[data-gpus-hint]");
  if (!chosen) return;
  const { whole, most } = chosen.dataset;
  const text = Number(most) > Number(whole) ? line.dataset.textMore : line.dataset.textOne;
  line.textContent = text.replaceAll("{whole}", whole).replaceAll("{most}", most);
}

form?.addEventListener("change", hint);
if (form) hint();
