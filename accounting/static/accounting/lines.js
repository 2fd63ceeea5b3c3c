// Hours by partition: the rows of the chosen cluster, their sum as it would be charged, and a calculator for one row.

const THIN = "\u202f";
const AMOUNT = /^\d{1,15}(\.\d{1,6})?$/;
const figure = (number) => {
  const [whole, fraction] = number.toFixed(2).replace(/\.00$/, "").split(".");
  return whole.replace(/\B(?=(\d{3})+(?!\d))/g, THIN) + (fraction ? `.${fraction}` : "");
};
const typed = (input) => input.value.replace(/[ \u00a0\u202f]/g, "");

const cluster = document.querySelector("#asking [name=cluster]");
const groups = [...document.querySelectorAll("[data-lines-of]")];
const chosen = () => (groups.length > 1 && cluster ? cluster.value : groups[0]?.dataset.linesOf);

function showCluster() {
  for (const group of groups) group.hidden = group.dataset.linesOf !== chosen();
  for (const option of document.querySelectorAll("[data-calc-line] option")) {
    option.hidden = option.disabled = option.dataset.cluster !== chosen();
  }
  const select = document.querySelector("[data-calc-line]");
  if (select?.selectedOptions[0]?.disabled) select.value = select.querySelector("option:not(:disabled)")?.value ?? "";
}

function addUp(group) {
  const output = group.querySelector("[data-total]");
  const amounts = [...group.querySelectorAll("[data-line]")].map((input) => [
    typed(input),
    Number(input.closest("[data-factor]").dataset.factor),
  ]);
  const given = amounts.filter(([text]) => text !== "");
  output.hidden = given.length === 0 || given.some(([text]) => !AMOUNT.test(text));
  const sum = given.reduce((all, [text, factor]) => all + Number(text) * factor, 0);
  const words = output.dataset.text.replace("{hours}", figure(sum));
  if (output.textContent !== words) output.textContent = words;
}

for (const group of groups) {
  group.addEventListener("input", () => addUp(group));
  addUp(group);
}
cluster?.addEventListener("change", showCluster);

// ── The calculator ─────────────────────────────────────────────────────────
const calculator = document.querySelector("[data-calculator]");
const read = (name) => Number(calculator.querySelector(`[data-calc=${name}]`).value);

function estimate() {
  const hours = read("runs") * read("gpus") * read("hours") * (1 + read("reserve") / 100);
  return Number.isFinite(hours) && hours > 0 ? Math.ceil(hours) : 0;
}

function calculate() {
  const result = calculator.querySelector("[data-calc-result]");
  const option = calculator.querySelector("[data-calc-line]").selectedOptions[0];
  const hours = estimate();
  const cost = hours * Number(option?.dataset.factor ?? 1);
  result.textContent = result.dataset.text.replace("{hours}", figure(hours)).replace("{cost}", figure(cost));
  calculator.querySelector("[data-calc-take]").disabled = !hours || !option;
}

if (calculator) {
  calculator.hidden = false;
  calculator.addEventListener("input", calculate);
  calculator.addEventListener("change", calculate);
  cluster?.addEventListener("change", calculate);
  calculator.querySelector("[data-calc-take]").addEventListener("click", () => {
    const input = document.getElementById(calculator.querySelector("[data-calc-line]").value);
    input.value = String(estimate());
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.focus();
  });
}
showCluster();
if (calculator) calculate();
