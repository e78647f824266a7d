// The live page: numbers and a chart from the stream of the reservation's statistics.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("live");
  if (!box) return;
  const places = { JPY: 0, KRW: 0, CLP: 0, ISK: 0, VND: 0, PYG: 0, UGX: 0, XAF: 0, XOF: 0, XPF: 0,
    BHD: 3, IQD: 3, JOD: 3, KWD: 3, LYD: 3, OMR: 3, TND: 3 };
  const money = (total) => {
    const exact = total.currency in places ? places[total.currency] : 2;
    return `${(total.gross / 10 ** exact).toFixed(exact)} ${total.currency}`;
  };
  const cell = (kind, content, type) => {
    const made = document.createElement(kind);
    made.textContent = content;
    if (type) made.className = type;
    if (kind === "th") made.scope = "row";
    return made;
  };
  const rows = (id, pairs, none) => {
    const body = document.querySelector(`#${id} tbody`);
    body.replaceChildren(...pairs.map(([name, count]) => {
      const row = document.createElement("tr");
      row.append(cell("th", name), cell("td", count, "number"));
      return row;
    }));
    if (!pairs.length && none) {
      const row = document.createElement("tr");
      const made = cell("td", none);
      made.colSpan = 2;
      row.append(made);
      body.append(row);
    }
  };

  const zone = box.dataset.zone;
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
  const target = document.getElementById("chart");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let chart = null;

  const draw = (joins, until = 0) => {
    // Minutes without a join are zeros, so that the bars stand where they belong.
    const counts = new Map(joins);
    const first = joins.length ? joins[0][0] : 0;
    const last = joins.length ? Math.max(joins[joins.length - 1][0], until - until % 60) : 0;
    const times = [], values = [];
    for (let at = first; joins.length && at <= last && times.length < 20000; at += 60) {
      times.push(at);
      values.push(counts.get(at) || 0);
    }
    if (chart) {
      chart.setData([times, values]);
      return;
    }
    const line = colour("--line"), ink = colour("--ink"), accent = colour("--accent");
    chart = new uPlot({
      width: Math.max(260, target.clientWidth),
      height: 220,
      tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), zone),
      legend: { show: false },
      scales: { x: { range: (u, low, high) => [low - 60, high + 60] }, y: { range: (u, low, high) => [0, Math.max(1, high)] } },
      axes: [
        { stroke: ink, grid: { show: false }, ticks: { stroke: line }, incrs: [60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400], values: (u, times) => times.map((at) => clock.format(at * 1000)) },
        { stroke: ink, grid: { stroke: line }, ticks: { stroke: line }, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
      ],
      series: [{}, { label: "Joins", stroke: accent, fill: accent, paths: uPlot.paths.bars({ size: [0.8, 40] }), points: { show: false } }],
    }, [times, values], target);
    window.addEventListener("resize", () => chart.setSize({ width: Math.max(260, target.clientWidth), height: 220 }));
  };

  const names = { on: "on now", open: "open for registration" };
  const show = (found) => {
    for (const place of box.querySelectorAll("[data-live]")) {
      const name = place.dataset.live;
      place.textContent = name === "money" ? found.money.map(money).join(" ") || "0" : found[name];
    }
    const state = document.createElement("span");
    state.className = `state ${found.state}`;
    state.textContent = names[found.state] || found.state;
    const now = document.getElementById("live-state");
    if (now.textContent.trim() !== state.textContent) now.replaceChildren(state);
    rows("refused", Object.entries(found.refused).sort().map(([why, count]) => [why.replaceAll("-", " "), count]), "Nobody yet.");
    rows("joins", found.joins.map(([minute, count]) => [clock.format(minute * 1000), count]));
    draw(found.joins, Math.min(found.at, Number(box.dataset.ends)));
  };

  draw([...document.querySelectorAll("#joins td[data-minute]")].map((one) => [Number(one.dataset.minute), Number(one.textContent)]));
  const stream = new EventSource(box.dataset.stream);
  stream.addEventListener("statistics", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("over", () => stream.close());
  stream.addEventListener("problem", (event) => {
    stream.close();
    document.getElementById("live-state").textContent = JSON.parse(event.data).detail;
  });
});
