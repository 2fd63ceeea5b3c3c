// A key that was not there, or that its person took away again: say so on the page instead of nothing.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  for (const said of document.querySelectorAll("[data-key-trouble]")) said.hidden = false;
});
