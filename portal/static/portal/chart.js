// Draws every <figure data-chart> from the json_script inside it (portal.charts.Chart), in the page's own colours.

const drawn = new Map();

function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  // The canvas knows no light-dark(): let the browser work the colour out on a real element.
  const probe = document.body.appendChild(document.createElement("span"));
  const computed = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const found = {
    series: [1, 2, 3, 4, 5, 6].map((i) => computed(`--chart-${i}`)),
    text: computed("--tblr-secondary"),
    grid: computed("--tblr-border-color"),
    font: colour("--tblr-font-sans-serif"),
  };
  probe.remove();
  return found;
}

function dataset(series, index, kind, colours) {
  const colour = colours.series[index % colours.series.length];
  return {
    label: series.name,
    data: series.values,
    borderColor: colour,
    backgroundColor: kind === "bar" ? colour : "transparent",
    borderDash: series.dashed ? [6, 4] : [],
    borderWidth: kind === "bar" ? 0 : 2,
    borderRadius: kind === "bar" ? 2 : 0,
    maxBarThickness: 40,
    pointRadius: 0,
    pointHitRadius: 12,
    tension: 0,
  };
}

function options(data, colours) {
  const language = document.documentElement.lang;
  const number = (value) => value.toLocaleString(language, { maximumFractionDigits: 2 }).replaceAll(/[,\s](?=\d{3})/g, "\u202f");
  return {
    animation: false,
    maintainAspectRatio: false,
    responsive: true,
    interaction: { mode: "index", intersect: false },
    scales: {
      x: { stacked: data.stacked, grid: { display: false }, ticks: { color: colours.text, maxRotation: 0, autoSkipPadding: 32 } },
      y: {
        stacked: data.stacked,
        beginAtZero: true,
        border: { display: false },
        grid: { color: colours.grid },
        ticks: { color: colours.text, maxTicksLimit: 6, callback: number },
        title: { display: true, text: data.unit, color: colours.text },
      },
    },
    plugins: {
      legend: { display: data.series.length > 1, position: "bottom", labels: { color: colours.text, boxWidth: 12, boxHeight: 12 } },
      tooltip: { callbacks: { label: (item) => ` ${item.dataset.label}: ${number(item.parsed.y)}\u202f${data.unit}` } },
    },
  };
}

async function draw(figure) {
  await import(figure.dataset.library); // puts Chart on the window
  const data = JSON.parse(document.getElementById(figure.dataset.chart).textContent);
  const colours = palette();
  globalThis.Chart.defaults.font.family = colours.font;
  drawn.get(figure)?.destroy();
  drawn.set(
    figure,
    new globalThis.Chart(figure.querySelector("canvas"), {
      type: data.kind,
      data: { labels: data.labels, datasets: data.series.map((one, i) => dataset(one, i, data.kind, colours)) },
      options: options(data, colours),
    }),
  );
}

const all = (part) => part.querySelectorAll("[data-chart]");

all(document).forEach(draw);
document.addEventListener("themechange", () => all(document).forEach(draw));
document.addEventListener("htmx:afterSwap", (event) => all(event.detail.target).forEach(draw));
