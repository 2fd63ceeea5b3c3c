// A slider beside every <input type="number" data-slider>. The number is the field; the slider only moves it, so it
// is hidden from the keyboard and from screen readers, which have the number.

function add(number) {
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", className: "form-range", tabIndex: -1, min: number.min || 0, max: number.max || 100, step: number.step || 1 });
  slider.setAttribute("aria-hidden", "true");
  const follow = () => (slider.value = number.value || slider.min); // empty would stand in the middle
  follow();
  const group = number.closest(".input-group") ?? number;
  const both = document.createElement("div");
  both.className = "slider";
  group.replaceWith(both);
  both.append(slider, group);
  slider.addEventListener("input", () => {
    number.value = slider.value;
    number.dispatchEvent(new Event("input", { bubbles: true }));
  });
  slider.addEventListener("change", () => number.dispatchEvent(new Event("change", { bubbles: true })));
  number.addEventListener("input", follow);
}

const all = (part) => part.querySelectorAll('input[type="number"][data-slider]').forEach(add);
all(document);
document.addEventListener("htmx:afterSwap", (event) => all(event.detail.target));
