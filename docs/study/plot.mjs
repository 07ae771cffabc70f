/**
 * Draws results.json as SVG beside it: `node plot.mjs`. One picture for each figure that was measured: a column for
 * each load, a row for each rate and round-trip time, and in each panel a line for each treatment.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { LOADS, RATES, ROUND_TRIPS, TREATMENTS } from './matrix.mjs';

const results = JSON.parse(readFileSync(new URL('results.json', import.meta.url), 'utf8')).runs;
const treatments = Object.keys(TREATMENTS);

const LEFT = 190;
const TOP = 64;
const LINE = 14;
/** A title must fit. */
const LEAST_WIDTH = 620;
const PANEL = { width: 170, height: treatments.length * LINE, gapX: 24, gapY: 26 };

const STYLE = `
  text { font: 11px system-ui, sans-serif; fill: #24292f } .title { font-size: 14px; font-weight: 600 } .head { font-weight: 600 }
  .tick, .value { font-size: 9px; fill: #57606a } .grid { stroke: #d0d7de } .back { fill: #ffffff }
  .none { fill: #6e7781; stroke: #6e7781 } .police { fill: #bc4c00; stroke: #bc4c00 } .shape { fill: #0969da; stroke: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .tick, .value { fill: #9198a1 } .grid { stroke: #3d444d } .back { fill: #0d1117 }
    .none { fill: #9198a1; stroke: #9198a1 } .police { fill: #f0883e; stroke: #f0883e } .shape { fill: #58a6ff; stroke: #58a6ff }
  }`;

const family = (treatment) => (treatment === 'none' ? 'none' : treatment.startsWith('htb') ? 'shape' : 'police');
const mbit = (rate) => `${rate / 1e6} mbit`;
const text = (x, y, words, rest = '') => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${rest}>${words}</text>`;
const short = (value) => (value >= 99.5 ? value.toFixed(0) : value >= 9.95 ? value.toFixed(1) : value.toFixed(2));

/** Linear from 0 to `most`, or logarithmic between two numbers. */
const linear = (most, ticks) => ({ at: (value) => Math.min(1, value / most), ticks });
const logarithmic = (least, most, ticks) => ({
  at: (value) => Math.min(1, Math.max(0, Math.log(value / least) / Math.log(most / least))),
  ticks,
});

/**
 * `values` gives what one run shows: one number is a bar; three are a line from the first to the last, with a dot at
 * the first and a stroke at the second. None where it does not apply.
 */
function draw(file, title, loads, axis, values) {
  const rows = RATES.flatMap((rate) => ROUND_TRIPS.map((rtt) => ({ rate, rtt }))).filter(({ rate, rtt }) =>
    results.some((r) => r.rate === rate && r.rtt === rtt),
  );
  const width = Math.max(LEAST_WIDTH, LEFT + loads.length * (PANEL.width + PANEL.gapX));
  const height = TOP + rows.length * (PANEL.height + PANEL.gapY);
  const parts = [`<rect class="back" width="100%" height="100%"/>`, text(12, 22, title, 'class="title"')];
  for (const [column, load] of loads.entries())
    parts.push(text(LEFT + column * (PANEL.width + PANEL.gapX), TOP - 18, load, 'class="head"'));
  for (const [row, { rate, rtt }] of rows.entries()) {
    const y = TOP + row * (PANEL.height + PANEL.gapY);
    parts.push(text(12, y + 10, mbit(rate), 'class="head"'), text(12, y + 26, `${rtt} ms`));
    for (const [i, treatment] of treatments.entries())
      parts.push(text(LEFT - 10, y + i * LINE + 10.5, treatment, 'text-anchor="end"'));
    for (const [column, load] of loads.entries()) {
      const x = LEFT + column * (PANEL.width + PANEL.gapX);
      for (const tick of axis.ticks) {
        const at = x + axis.at(tick) * PANEL.width;
        parts.push(`<path class="grid" d="M${at.toFixed(1)} ${y}v${PANEL.height}"/>`);
        parts.push(text(at, y + PANEL.height + 10, tick, 'class="tick" text-anchor="middle"'));
      }
      for (const [i, treatment] of treatments.entries()) {
        const found = results.find(
          (r) => r.rate === rate && r.rtt === rtt && r.load === load && r.treatment === treatment,
        );
        const value = found && values(found);
        if (value) parts.push(...mark(x, y + i * LINE + LINE / 2, family(treatment), axis, value));
      }
    }
  }
  writeFileSync(
    new URL(file, import.meta.url),
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">\n<title>${title}</title>\n<style>${STYLE}\n</style>\n${parts.join('\n')}\n</svg>\n`,
  );
}

function mark(x, y, kind, axis, value) {
  const at = (v) => x + axis.at(v) * PANEL.width;
  if (value.length === 1) {
    const end = at(value[0]);
    return [
      `<rect class="${kind}" stroke="none" x="${x}" y="${y - 4}" width="${Math.max(1, end - x).toFixed(1)}" height="8"/>`,
      end < x + PANEL.width - 30
        ? text(end + 3, y + 3.5, short(value[0]), 'class="value"')
        : text(end - 3, y + 3.5, short(value[0]), 'class="value" text-anchor="end" style="fill:#fff;stroke:none"'),
    ];
  }
  const [first, second, last] = value.map(at);
  return [
    `<path class="${kind}" stroke-width="2" d="M${first.toFixed(1)} ${y}H${last.toFixed(1)}"/>`,
    `<circle class="${kind}" cx="${first.toFixed(1)}" cy="${y}" r="3"/>`,
    `<path class="${kind}" stroke-width="2" d="M${second.toFixed(1)} ${y - 4}v8"/>`,
  ];
}

const loaded = Object.keys(LOADS).filter((load) => load !== 'voice');
const many = loaded.filter((load) => LOADS[load].long > 1);

draw(
  'latency.svg',
  'What a voice call waits, ms: median (dot), 95 % (stroke), 99 % (end)',
  loaded,
  logarithmic(0.1, 1000, [0.1, 1, 10, 100, 1000]),
  ({ voice }) => [voice.delayMs.p50, voice.delayMs.p95, voice.delayMs.p99],
);
draw(
  'voice-loss.svg',
  'Datagrams of the voice call that are lost, %',
  loaded,
  linear(15, [0, 5, 10, 15]),
  ({ voice }) => [voice.lossPct],
);
draw('goodput.svg', 'Goodput, % of the rate', loaded, linear(120, [0, 50, 100]), ({ goodputMbit, rate }) => [
  (goodputMbit * 1e8) / rate,
]);
draw('loss.svg', 'Packets dropped on purpose, % of those that arrived', loaded, linear(15, [0, 5, 10, 15]), (r) => [
  r.lossPct,
]);
draw('fairness.svg', "Fairness among long flows, Jain's index", many, linear(1, [0, 0.5, 1]), ({ jain }) => [jain]);
draw(
  'short-flows.svg',
  'What 30 KB take beside eight long flows, ms: median (dot), 95 % (stroke), 99 % (end)',
  ['p2p'],
  logarithmic(10, 10_000, [10, 100, 1000, 10_000]),
  ({ short }) => short && [short.p50, short.p95, short.p99],
);
