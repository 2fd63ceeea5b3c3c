// The key "/" leads to the search in the top bar, unless somebody is typing.

const TYPING = "input, select, textarea, [contenteditable]";

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(TYPING)) return;
  const field = document.querySelector("[data-search]");
  if (!field) return;
  event.preventDefault();
  if (field.checkVisibility()) field.focus();
  else location.assign(field.form.action);
});
