// A file has come from the cluster: the answer names its address, and the browser's own download begins.

document.body.addEventListener("download", ({ detail }) => location.assign(detail.url));
