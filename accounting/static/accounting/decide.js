// The button says what it will grant, as one types: "Approve 4 000 GPU-hours", "Approve 3 000 of 4 000 GPU-hours".

const THIN = "\u202f";
const grouped = (text) => text.replace(/\B(?=(\d{3})+(?!\d))/g, THIN);
const typed = (text) => text.replace(/[ \u00a0\u202f]/g, "");

for (const button of document.querySelectorAll("[data-approve]")) {
  const field = document.getElementById(button.dataset.approve);
  const words = button.querySelector("span");
  const say = () => {
    const hours = typed(field.value);
    const { asked, text, part } = button.dataset;
    if (!/^\d{1,15}(\.\d+)?$/.test(hours)) return;
    const [whole, fraction] = hours.split(".");
    const shown = grouped(whole) + (fraction ? `.${fraction}` : "");
    words.textContent = (Number(hours) === Number(asked) ? text : part).replace("{hours}", shown).replace("{asked}", grouped(asked));
  };
  field.addEventListener("input", say);
  say();
}
