// The form for asking saves itself: two seconds after the last change, when one leaves the page, and before any other
// form of the page is sent. The first save makes the draft; the address becomes the draft's.

const PAUSE = 2000;
const AGAIN = 10_000;
const ON_THE_WAY = 10_000;
const LEFT = "draft-left-unsaved";
const form = document.querySelector("form[data-draft]");
const status = document.querySelector("[data-draft-status]");
let dirty = false;
let saving = null;
let timer = 0;
let leaving = false;

const body = () => new URLSearchParams([...new FormData(form)].filter(([, value]) => typeof value === "string"));

function later(pause) {
  clearTimeout(timer);
  timer = setTimeout(save, pause);
}

function tell(text, { at = "", warn = false } = {}) {
  status.classList.toggle("tone-warn", warn);
  status.textContent = text;
  if (!at) return;
  const time = document.createElement("time");
  time.dateTime = at;
  time.dataset.ago = "";
  status.append(" ", time);
}

async function post(options = {}) {
  const answer = await fetch(form.dataset.draft, { method: "POST", body: body(), ...options });
  const type = answer.headers.get("Content-Type") ?? "";
  if (!type.startsWith("application/json")) throw new Error(`status ${answer.status}`);
  return { ok: answer.ok, told: await answer.json() };
}

function took(told) {
  form.elements.version.value = told.version;
  if (form.dataset.draft !== told.autosave) {
    form.dataset.draft = told.autosave;
    form.dataset.made = "true";
    form.action = told.edit;
    history.replaceState(null, "", told.edit);
  }
  if (told.sentence) tell(told.sentence, { warn: true });
  else tell(form.dataset.saved, { at: told.saved_at });
}

async function save() {
  clearTimeout(timer);
  if (saving) await saving;
  if (!dirty || leaving) return;
  dirty = false;
  tell(form.dataset.saving);
  saving = post()
    .then(({ ok, told }) => (ok ? took(told) : tell(told.sentence, { warn: true })))
    .catch(() => {
      dirty = true;
      tell(form.dataset.failed, { warn: true });
      later(AGAIN);
    });
  await saving;
  saving = null;
}

function changed() {
  dirty = true;
  later(PAUSE);
}

// Whoever comes back at once (a reload, say) may overtake what was saved on the way out: the page is fetched again then.
async function comeBack() {
  const left = JSON.parse(localStorage.getItem(LEFT) ?? "null");
  if (left?.draft !== form.dataset.draft) return;
  localStorage.removeItem(LEFT);
  while (Date.now() - left.at < ON_THE_WAY) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE / 2));
    if (dirty || saving) return;
    const answer = await fetch(location.href);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const saved = page.querySelector("form[data-draft] [name=version]")?.value;
    if (saved && saved !== form.elements.version.value && !dirty && !saving) location.reload();
  }
}

if (form) {
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  form.addEventListener("submit", async (event) => {
    clearTimeout(timer);
    if (saving) {
      // The first save may be making the draft: what is sent has to be that one, not a second.
      event.preventDefault();
      await saving;
      form.requestSubmit(event.submitter);
      return;
    }
    leaving = true;
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) leaving = false;
  });
  window.addEventListener("pagehide", () => {
    // What is being saved now may be cut off with the page, and so goes once more; not while it makes the draft.
    if (leaving || !(dirty || saving) || (saving && !form.dataset.made)) return;
    localStorage.setItem(LEFT, JSON.stringify({ draft: form.dataset.draft, at: Date.now() }));
    post({ keepalive: true }).catch(() => {});
  });
  comeBack();
  for (const other of document.querySelectorAll("form[data-after-save]")) {
    other.addEventListener("submit", async (event) => {
      if (!dirty && !saving) return;
      event.preventDefault();
      await save();
      leaving = true;
      other.submit();
    });
  }
}
