// The files of a form: dropped or chosen (folders keep their paths), sent at once by tus, a few at a time.
// A finished upload leaves <input name="uploads" value=ID> in the form; the radio "script" says which one is run.
// The tus server gets the metadata `filename`: the path with "/" between its parts.

const AT_ONCE = 3;
const RETRIES = [0, 1000, 3000, 5000, 10000, 20000];
const SCRIPTS = [/\.(sh|sbatch)$/i, /\.py$/i]; // the likeliest first
const RATE_SPAN = 1000; // the rate is measured over this many ms

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

function size(bytes) {
  let step = 0;
  while (bytes >= 1024 && step < UNITS.length - 1) [bytes, step] = [bytes / 1024, step + 1];
  const digits = step && bytes < 100 ? 1 : 0;
  return `${bytes.toLocaleString(document.documentElement.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits })}\u202f${UNITS[step]}`;
}

async function start(box) {
  const { endpoint, library, maxBytes } = box.dataset;
  const form = box.closest("form");
  const list = box.querySelector("[data-files]");
  const pattern = box.querySelector("[data-row]");
  const total = box.querySelector("[data-upload-all]");
  const drop = box.querySelector("[data-drop]");
  const csrf = { "X-CSRFToken": form.querySelector("[name=csrfmiddlewaretoken]").value };
  await import(library); // puts tus on the window
  const tus = globalThis.tus;
  let chosen = list.querySelector("[name=script]:checked") !== null; // by a person, not by us
  const sendings = new Map(); // row → { file, path, upload, sent, state: queued | sending | done | failed }

  const text = (name, values = {}) =>
    Object.entries(values).reduce((words, [key, value]) => words.replace(`{${key}}`, value), box.dataset[`text${name}`]);
  const part = (row, name) => row.querySelector(`[data-${name}]`);
  const states = (...wanted) => [...sendings.values()].filter(({ state }) => wanted.includes(state));

  // ── Rows ─────────────────────────────────────────────────────────────────
  function add(file, path) {
    const twin = [...list.children].find((row) => part(row, "name").textContent === path);
    if (twin) remove(twin); // the same path again means the newer file
    const row = pattern.content.firstElementChild.cloneNode(true);
    part(row, "name").textContent = path;
    part(row, "size-words").textContent = size(file.size);
    list.append(row);
    const sending = { file, path, upload: null, sent: 0, state: "queued" };
    sendings.set(row, sending);
    if (maxBytes && file.size > Number(maxBytes)) fail(row, text("TooLarge", { limit: size(Number(maxBytes)) }), false);
    else part(row, "state").textContent = text("Queued");
  }

  function fail(row, words, again = true) {
    Object.assign(sendings.get(row), { state: "failed", final: !again });
    row.classList.add("file-failed");
    part(row, "state").textContent = words;
    part(row, "again").hidden = !again;
    next();
  }

  function done(row, id) {
    const sending = sendings.get(row);
    Object.assign(sending, { state: "done", sent: sending.file.size });
    row.dataset.id = id;
    row.classList.add("file-done");
    row.querySelector("progress").hidden = true;
    part(row, "state").textContent = text("Done");
    const input = Object.assign(document.createElement("input"), { type: "hidden", name: "uploads", value: id });
    row.append(input);
    Object.assign(row.querySelector("[name=script]"), { value: id, disabled: false });
    guessScript();
    changed();
    next();
  }

  // Which file is run: a guess until somebody has chosen.
  function guessScript() {
    const there = [...list.querySelectorAll(".file-done")];
    if (chosen && list.querySelector("[name=script]:checked")) return;
    chosen = false;
    for (const likely of SCRIPTS) {
      const row = there.find((row) => likely.test(part(row, "name").textContent));
      if (!row) continue;
      row.querySelector("[name=script]").checked = true;
      return;
    }
  }

  async function remove(row) {
    const sending = sendings.get(row);
    const id = row.dataset.id;
    sendings.delete(row);
    row.remove();
    guessScript();
    changed();
    next();
    if (sending?.upload) await sending.upload.abort(true).catch(() => {}); // the server sweeps what stays behind
    else if (id) await fetch(endpoint + id, { method: "DELETE", headers: { ...csrf, "Tus-Resumable": "1.0.0" } }).catch(() => {});
  }

  // ── Sending ──────────────────────────────────────────────────────────────
  function next() {
    const free = AT_ONCE - states("sending").length;
    [...sendings].filter(([, { state }]) => state === "queued").slice(0, free).forEach(([row]) => send(row));
    tellTotal();
  }

  function send(row) {
    const sending = sendings.get(row);
    const { file, path } = sending;
    let mark = { at: performance.now(), sent: 0 };
    sending.state = "sending";
    row.classList.remove("file-failed");
    part(row, "again").hidden = true;
    sending.upload = new tus.Upload(file, {
      endpoint,
      headers: csrf,
      metadata: { filename: path, filetype: file.type },
      retryDelays: RETRIES,
      removeFingerprintOnSuccess: true,
      // Two files of one name in two folders are two uploads: the path belongs to the fingerprint.
      fingerprint: async () => ["tus", endpoint, path, file.size, file.lastModified].join("|"),
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        const retry = status === 0 || status === 409 || status === 423 || status === 429 || status >= 500;
        if (retry) part(row, "state").textContent = text("Retrying");
        return retry;
      },
      onProgress: (sent, all) => {
        sending.sent = sent;
        row.querySelector("progress").value = all ? sent / all : 1;
        const span = performance.now() - mark.at;
        if (span >= RATE_SPAN) mark = { at: performance.now(), sent, rate: ((sent - mark.sent) * 1000) / span };
        part(row, "state").textContent = text("Sending", {
          percent: all ? Math.floor((sent * 100) / all) : 100,
          rate: size(Math.max(mark.rate ?? (sent * 1000) / Math.max(span, 1), 0)),
        });
        tellTotal();
      },
      onError: (error) => {
        if (!sendings.has(row)) return;
        const answer = error.originalResponse;
        const reason = answer && answer.getStatus() < 500 ? said(answer) : "";
        if (reason) fail(row, text("Refused", { reason }), false);
        else fail(row, text("Failed"));
      },
      onSuccess: () => sendings.has(row) && done(row, sending.upload.url.replace(/\/+$/, "").split("/").pop()),
    });
    resume(sending.upload);
  }

  async function resume(upload) {
    const [earlier] = await upload.findPreviousUploads();
    if (earlier) upload.resumeFromPreviousUpload(earlier);
    upload.start();
  }

  // The server's own sentence: a problem document's detail, or plain text.
  function said(answer) {
    try {
      const { detail, title } = JSON.parse(answer.getBody());
      return detail || title || `${answer.getStatus()}`;
    } catch {
      return (answer.getHeader("Content-Type") ?? "").startsWith("text/plain") ? answer.getBody() : `${answer.getStatus()}`;
    }
  }

  function tellTotal() {
    const all = [...sendings.values()];
    const sum = (values) => values.reduce((sum, value) => sum + value, 0);
    total.textContent = all.length < 2 ? "" : text("All", {
      done: states("done").length,
      count: all.length,
      sent: size(sum(all.map(({ sent }) => sent))),
      size: size(sum(all.map(({ file }) => file.size))),
    });
  }

  // The live check beside the form listens for the form's changes.
  const changed = () => form.dispatchEvent(new Event("change", { bubbles: true }));

  // ── What people do ───────────────────────────────────────────────────────
  function take(entries) {
    for (const { file, path } of entries) add(file, path);
    next();
  }

  for (const button of box.querySelectorAll("[data-choose]"))
    button.addEventListener("click", () => box.querySelector(`[data-input=${button.dataset.choose}]`).click());
  for (const input of box.querySelectorAll("[data-input]"))
    input.addEventListener("change", (event) => {
      event.stopPropagation();
      take([...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
      input.value = "";
    });

  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("drop-over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("drop-over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("drop-over");
    // Entries must be asked for before the first await: the list is emptied after the event.
    const roots = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    take((await Promise.all(roots.map(walk))).flat());
  });

  list.addEventListener("change", () => (chosen = true));
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[data-file]");
    if (event.target.closest("[data-remove]")) remove(row);
    if (event.target.closest("[data-again]")) {
      sendings.get(row).state = "queued";
      next();
    }
  });

  form.addEventListener("submit", (event) => {
    const waiting = states("queued", "sending").length;
    const broken = states("failed").length;
    if (!waiting && !broken) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    total.textContent = waiting ? text("Wait") : text("Broken");
    total.scrollIntoView({ block: "nearest" });
  });
  window.addEventListener("beforeunload", (event) => {
    if (states("queued", "sending").length) event.preventDefault();
  });
}

// A dropped entry → its files with their paths. readEntries gives at most 100 at a time: ask until it is empty.
async function walk(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path: entry.fullPath.slice(1) }];
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    inside.push(...some);
  }
  return (await Promise.all(inside.map(walk))).flat();
}

document.querySelectorAll("[data-upload]").forEach(start);
