import type { LinkStatus, PolicyView } from '../service/index.ts';
import { colorName, drawChart, MEASURES } from './chart.ts';
import { at, el, redraw, setText } from './dom.ts';
import { duration, percent, rate, size } from './format.ts';
import type { QueueRate, Track, Way } from './history.ts';

const HEAD = ['queue', 'rate', 'of its ceiling', 'share', 'ceiling', 'drops/s', 'waits', 'delay'];
const WORDS: Readonly<Record<Way, string>> = { download: 'arrives', upload: 'leaves' };

type Queue = PolicyView['queues'][number];

/** Each way of each link: its rates over time, its tree with what goes through each queue now, and who opened that. */
export class LinksView {
  readonly #panels = new Map<string, Panel>();

  constructor() {
    at('measure').addEventListener('change', () => this.draw());
  }

  show(links: readonly LinkStatus[], tracks: readonly Track[], policy: PolicyView): void {
    const keys = new Set(tracks.map(({ link, way }) => `${way} ${link}`));
    for (const [key, panel] of this.#panels)
      if (!keys.has(key)) {
        panel.element.remove();
        this.#panels.delete(key);
      }
    for (const track of tracks) {
      const key = `${track.way} ${track.link}`;
      let panel = this.#panels.get(key);
      if (!panel) {
        panel = new Panel(track.link, track.way);
        this.#panels.set(key, panel);
        at('links').append(panel.element);
      }
      const link = links.find(({ name }) => name === track.link)!;
      panel.show(link, track, policy);
    }
    at('no-links').hidden = keys.size > 0;
  }

  /** Draws again: another size, other colours. */
  draw(): void {
    for (const panel of this.#panels.values()) panel.draw();
  }
}

class Panel {
  readonly element: HTMLElement;
  readonly #canvas = el('canvas', { role: 'img' });
  readonly #state = el('span', { class: 'state' });
  readonly #body = el('tbody');
  /** Of colours that are not those of the queues below. */
  readonly #key = el('p', { class: 'key', 'aria-hidden': 'true' });
  readonly #origins = el('p', { class: 'origins' });
  #draw = () => {};

  constructor(link: string, way: Way) {
    const title = `${link}: what ${WORDS[way]}`;
    const head = HEAD.map((name) => el('th', { scope: 'col' }, name));
    const table = el('table', { class: 'tree' }, el('caption', { class: 'unseen' }, `Queues of ${title}`));
    table.append(el('thead', {}, el('tr', {}, ...head)), this.#body);
    const heading = el('h3', {}, title, ' ', this.#state);
    const scroller = el('section', { class: 'wide', tabindex: '0', 'aria-label': `Queues of ${title}` }, table);
    this.element = el(
      'section',
      { class: 'panel', 'data-way': way },
      heading,
      this.#canvas,
      this.#key,
      scroller,
      this.#origins,
    );
    new ResizeObserver(() => this.draw()).observe(this.#canvas);
  }

  draw(): void {
    redraw(this.#draw);
  }

  show(link: LinkStatus, track: Track, { queues, links }: PolicyView): void {
    const leaves = queues.filter((queue) => !queues.some(({ parent }) => parent === queue.name));
    const names = leaves.map(({ name }) => name);
    const most = links.find(({ name }) => name === track.link)?.[track.way];
    setText(this.#state, link.state);
    this.#state.dataset.state = link.state;
    const now = track.points.at(-1)?.queues ?? [];
    const total = now.reduce((all, queue) => all + queue.rate, 0);
    const words = now.map((queue) => `${queue.name} ${rate(queue.rate)}`).join(', ');
    this.#canvas.setAttribute(
      'aria-label',
      `${track.way} of ${track.link} over time: now ${rate(total)}${most ? ` of ${rate(most)}` : ''}. ${words}`,
    );
    this.#draw = () => {
      const chosen = at<HTMLSelectElement>('measure').value;
      const measure = MEASURES[chosen]!;
      const layers = measure.names?.(track.points) ?? names;
      drawChart(this.#canvas, measure, track.points, layers, chosen === 'rate' ? most : undefined);
      this.#key.replaceChildren(...(measure.names ? layers.map(keyOf) : []));
    };
    this.draw();
    this.#showTree(link, track.way, queues, now, names, most);
    const verdicts = Object.entries(track.points.at(-1)?.verdicts ?? {}).filter(([, count]) => count > 0);
    const figures = verdicts.map(([name, count]) => `${name.replace('_', ' ')} ${Math.round(count)}`);
    setText(this.#origins, figures.length > 0 ? `Packets a second by who opened: ${figures.join(', ')}` : '');
  }

  #showTree(
    link: LinkStatus,
    way: Way,
    queues: readonly Queue[],
    now: readonly QueueRate[],
    leaves: readonly string[],
    most: number | undefined,
  ): void {
    const wanted = queues.map(({ name }) => name).join('\n');
    if (this.#body.dataset.queues !== wanted) {
      this.#body.replaceChildren(...queues.map((queue) => rowOf(queue, queues, leaves.indexOf(queue.name))));
      this.#body.dataset.queues = wanted;
    }
    const within = (name: string): QueueRate[] => [
      ...now.filter((queue) => queue.name === name),
      ...queues.filter(({ parent }) => parent === name).flatMap((child) => within(child.name)),
    ];
    queues.forEach((queue, i) => {
      const cells = this.#body.rows[i]!.cells;
      const parts = within(queue.name);
      const sum = (value: (one: QueueRate) => number) => parts.reduce((all, one) => all + value(one), 0);
      const speed = sum((one) => one.rate);
      const stood = parts.some(({ delay }) => delay === undefined);
      const own = (link[way]?.queues ?? []).reduce((all, q) => (q.name === queue.name ? all + (q.ceil ?? 0) : all), 0);
      // Of a queue that holds others the status has no class.
      const ceil = own || (queue.parent === undefined ? (most ?? 0) * queue.ceiling : 0);
      setText(cells[1]!, parts.length > 0 ? rate(speed) : '–');
      const bar = cells[2]!.querySelector<HTMLElement>('.bar > span')!;
      const part = ceil > 0 ? Math.min(1, speed / ceil) : 0;
      bar.style.width = percent(part);
      setText(cells[2]!.querySelector('.figure')!, ceil > 0 ? `${Math.round(part * 100)}%` : '–');
      setText(cells[3]!, percent(queue.share));
      setText(cells[4]!, ceil > 0 ? rate(ceil) : percent(queue.ceiling));
      const drops = sum((one) => one.drops);
      setText(cells[5]!, drops > 0 && drops < 1 ? '<1' : String(Math.round(drops)));
      cells[5]!.classList.toggle('bad', drops > 0);
      setText(cells[6]!, size(sum((one) => one.backlog)));
      setText(cells[7]!, stood ? 'stands' : duration(Math.max(0, ...parts.map(({ delay }) => delay ?? 0))));
    });
  }
}

function keyOf(name: string, index: number): HTMLElement {
  const swatch = el('span', { class: 'swatch' });
  swatch.style.background = `var(${colorName(index)})`;
  return el('span', {}, swatch, name.replace('_', ' '));
}

function rowOf(queue: Queue, all: readonly Queue[], leaf: number): HTMLTableRowElement {
  let depth = 0;
  for (let at: Queue | undefined = queue; at?.parent !== undefined; depth++)
    at = all.find(({ name }) => name === at!.parent);
  const swatch = el('span', { class: 'swatch', 'aria-hidden': 'true' });
  if (leaf >= 0) swatch.style.background = `var(${colorName(leaf)})`;
  const name = el('th', { scope: 'row' }, swatch, queue.name);
  name.style.paddingInlineStart = `${depth + 0.25}rem`;
  const bar = el('td', { class: 'filled' }, el('span', { class: 'bar' }, el('span')), el('span', { class: 'figure' }));
  if (leaf >= 0) bar.querySelector<HTMLElement>('.bar > span')!.style.background = `var(${colorName(leaf)})`;
  const cells = HEAD.slice(3).map(() => el('td', { class: 'number' }));
  return el('tr', {}, name, el('td', { class: 'number' }), bar, ...cells);
}
