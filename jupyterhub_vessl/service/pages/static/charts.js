/* Draws the charts of Credits from the numbers that stand in the page.  Without it the same numbers are tables. */
import { moneyText } from "./money.js";

const MICROS = 1000000;
const HUES = 10;
const byId = (id) => document.getElementById(id);
const series = JSON.parse(byId("vessl-series").textContent);
const still = window.matchMedia("(prefers-reduced-motion: reduce)");

const inDays = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
const inUtcDays = new Intl.DateTimeFormat([], { day: "numeric", month: "short", timeZone: "UTC" });
const toMinutes = new Intl.DateTimeFormat([], {
  weekday: "short",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

const money = (credits) => moneyText(credits * MICROS, series.symbol, series.unit);

/* on an axis cents are noise, unless there is nothing else */
function shortMoney(credits, index, ticks) {
  const whole = ticks.every((tick) => Number.isInteger(tick.value));
  const text = Math.abs(credits).toLocaleString("en", whole ? {} : { minimumFractionDigits: 2 });
  return `${credits < 0 ? "−" : ""}${series.symbol}${text}${series.unit}`;
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    text: read("--bs-body-color"),
    quiet: read("--bs-secondary-color"),
    line: read("--bs-border-color"),
    ground: read("--bs-body-bg"),
    accent: read("--vessl-chart-0"),
    danger: read("--bs-danger-text-emphasis"),
    hue: (number) => read(`--vessl-chart-${number % HUES}`),
  };
}

/* a tick for each of at most `most` midnights, in the reader's zone */
function midnights(from, to, most) {
  const at = new Date(from);
  at.setHours(24, 0, 0, 0);
  const found = [];
  for (; at <= to; at.setDate(at.getDate() + 1)) found.push({ value: at.getTime() });
  const step = Math.max(1, Math.ceil(found.length / most));
  return found.filter((_, index) => index % step === 0);
}

function shared(colors) {
  return {
    responsive: true,
    maintainAspectRatio: false,
    animation: still.matches ? false : { duration: 250 },
    font: { family: getComputedStyle(document.body).fontFamily },
    color: colors.text,
    interaction: { mode: "index", intersect: false },
    plugins: {
      legend: { position: "bottom", labels: { color: colors.text, boxWidth: 24, boxHeight: 2 } },
      tooltip: { callbacks: { label: ({ dataset, raw }) => `${dataset.label}: ${money(raw?.y ?? raw)}` } },
    },
  };
}

const moneyAxis = (colors) => ({
  border: { display: false },
  grid: { color: colors.line },
  ticks: { color: colors.quiet, callback: shortMoney, maxTicksLimit: 7 },
});

function history(colors) {
  const points = (found) => found.map(([x, micros]) => ({ x, y: micros / MICROS }));
  const from = series.past[0][0];
  const to = series.ahead.at(-1)[0];
  const level = (label, y, color, dash) => ({
    label,
    data: [
      { x: from, y },
      { x: to, y },
    ],
    borderColor: color,
    borderWidth: 1,
    borderDash: dash,
    pointRadius: 0,
    pointHitRadius: 0,
  });
  const line = { borderColor: colors.accent, backgroundColor: colors.accent, borderWidth: 2.5, pointHitRadius: 8 };
  const past = points(series.past);
  const data = [
    { ...line, label: "Balance", data: past, pointRadius: past.length > 8 ? 0 : 2.5 },
    { ...line, label: "At the present rate", data: points(series.ahead), borderDash: [6, 5], pointRadius: 0 },
    level("Zero", 0, colors.quiet, []),
  ];
  if (series.floor < 0) data.push(level(series.floorTitle, series.floor / MICROS, colors.danger, [2, 3]));
  const values = [0, series.floor, ...[...series.past, ...series.ahead].map(([, micros]) => micros)];
  const [lowest, highest] = [Math.min(...values) / MICROS, Math.max(...values) / MICROS];
  const options = shared(colors);
  options.interaction = { mode: "nearest", axis: "x", intersect: false };
  const { generateLabels } = window.Chart.defaults.plugins.legend.labels;
  options.plugins.legend.labels = {
    color: colors.text,
    usePointStyle: true,
    pointStyle: "line",
    pointStyleWidth: 28,
    generateLabels: (chart) =>
      generateLabels(chart).map((item) => ({ ...item, lineDash: data[item.datasetIndex].borderDash ?? [] })),
  };
  options.plugins.tooltip.filter = ({ datasetIndex }) => datasetIndex < 2;
  options.plugins.tooltip.callbacks.title = ([item]) => (item ? toMinutes.format(new Date(item.raw.x)) : "");
  options.scales = {
    x: {
      type: "linear",
      min: from,
      max: Math.max(to, from + 1),
      afterBuildTicks: (axis) => {
        axis.ticks = midnights(axis.min, axis.max, Math.max(2, Math.floor(axis.width / 80)));
      },
      border: { color: colors.line },
      grid: { display: false },
      ticks: { color: colors.quiet, maxRotation: 0, callback: (value) => inDays.format(new Date(value)) },
    },
    y: { ...moneyAxis(colors), min: lowest - 0.04 * (highest - lowest || 1) },
  };
  options.scales.y.ticks.includeBounds = false;
  return { type: "line", data: { datasets: data }, options };
}

function usage(colors) {
  const options = shared(colors);
  options.plugins.legend.labels.boxHeight = 12;
  options.plugins.legend.labels.boxWidth = 12;
  if (series.show === "totals") {
    options.indexAxis = "y";
    options.plugins.legend.display = false;
    options.scales = {
      x: { ...moneyAxis(colors), beginAtZero: true },
      y: { grid: { display: false }, border: { color: colors.line }, ticks: { color: colors.text, autoSkip: false } },
    };
    const bars = {
      label: "Used",
      data: series.groups.map((group) => group.total / MICROS),
      backgroundColor: series.groups.map((_, index) => colors.hue(index)),
      maxBarThickness: 28,
    };
    return { type: "bar", data: { labels: series.groups.map((group) => group.title), datasets: [bars] }, options };
  }
  options.plugins.tooltip.filter = ({ raw }) => raw > 0;
  options.plugins.tooltip.callbacks.footer = (items) =>
    items.length > 1 ? `In all: ${money(items.reduce((sum, item) => sum + item.raw, 0))}` : "";
  options.scales = {
    x: {
      stacked: true,
      grid: { display: false },
      border: { color: colors.line },
      ticks: { color: colors.quiet, maxRotation: 0, autoSkipPadding: 16 },
    },
    y: { ...moneyAxis(colors), stacked: true, beginAtZero: true },
  };
  const datasets = series.groups.map((group, index) => ({
    label: group.title,
    data: group.days.map((micros) => micros / MICROS),
    backgroundColor: colors.hue(index),
    borderColor: colors.ground,
    borderWidth: { top: 1 },
    maxBarThickness: 40,
  }));
  return { type: "bar", data: { labels: series.days.map((at) => inUtcDays.format(new Date(at))), datasets }, options };
}

const drawn = [];

function draw() {
  for (const chart of drawn.splice(0)) chart.destroy();
  const colors = palette();
  for (const [id, build] of [
    ["vessl-history", history],
    ["vessl-usage", usage],
  ]) {
    const canvas = byId(id);
    if (canvas) drawn.push(new window.Chart(canvas, build(colors)));
  }
}

draw();
new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
