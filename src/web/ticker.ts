import { FILTER_KEYS, labelOf, type MonitorItem, tellItem } from '../monitor/index.ts';
import type { PolicyView } from '../service/index.ts';
import { at, el, setText } from './dom.ts';
import type { Feed } from './feed.ts';
import { Rows } from './rows.ts';

/** Items that the page keeps; the service has more. */
export const MOST_ITEMS = 5000;
/** Ms between two summaries for those who hear the page. */
const SUMMARY_MS = 5000;

/** The event stream as it comes, the newest first, by a filter that the service keeps to. */
export class Ticker {
  readonly #rows: Rows<MonitorItem>;
  readonly #feed: Feed;
  readonly #form = at<HTMLFormElement>('events-form');
  readonly #pause = at<HTMLButtonElement>('events-pause');
  #items: MonitorItem[] = [];
  /** What is in sight while it is held. */
  #held: readonly MonitorItem[] | undefined;
  #paused = false;
  #came = 0;
  #missed = 0;

  constructor(feed: Feed, tell: (flow: { protocol: string; local: string; remote: string }) => void) {
    this.#feed = feed;
    const make = (open: () => void) => {
      const button = el('button', { type: 'button', class: 'flow', tabindex: '-1' }, 'story');
      button.addEventListener('click', open);
      return el('tr', {}, el('td', { class: 'number' }), el('td'), el('td'), el('td'), el('td', {}, button));
    };
    this.#rows = new Rows(at('events-scroller'), make, fill, (item) => {
      if ('remote' in item) tell(item);
    });
    at('events-scroller').addEventListener('scroll', () => this.#show(), { passive: true });
    this.#pause.addEventListener('click', () => {
      this.#paused = !this.#paused;
      this.#pause.setAttribute('aria-pressed', String(this.#paused));
      this.#show();
    });
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.open();
    });
    this.#form.addEventListener('change', () => void this.open());
    setInterval(() => this.#summarize(), SUMMARY_MS);
  }

  /** Reads by what the form says, from the first item that the service still has. */
  async open(): Promise<void> {
    const filter = new URLSearchParams();
    const fields = new FormData(this.#form);
    for (const key of FILTER_KEYS) {
      const value = fields.get(key);
      if (typeof value === 'string' && value.trim()) filter.set(key, value.trim());
    }
    const problem = at('events-problem');
    const address = at<HTMLInputElement>('address');
    this.#items = [];
    this.#held = undefined;
    this.#show();
    try {
      await this.#feed.open(filter);
      setText(problem, '');
      address.removeAttribute('aria-invalid');
    } catch (error) {
      setText(problem, (error as Error).message);
      address.setAttribute('aria-invalid', 'true');
    }
  }

  add(items: readonly MonitorItem[]): void {
    this.#came += items.length;
    for (const item of items) if (item.kind === 'gap') this.#missed += Math.max(0, item.to - item.from + 1);
    this.#items.push(...items);
    // Cut seldom: moving thousands for each item would cost more than drawing them.
    if (this.#items.length > 2 * MOST_ITEMS) this.#items = this.#items.slice(-MOST_ITEMS);
    this.#show();
  }

  /** Queues and rules to choose from. */
  offer({ queues, rules }: PolicyView): void {
    for (const [id, names] of [
      ['queue', queues.map(({ name }) => name)],
      ['rule', rules.map(({ name }) => name)],
    ] as const) {
      const select = at<HTMLSelectElement>(id);
      const wanted = ['', ...names];
      if (wanted.join('\n') === [...select.options].map(({ value }) => value).join('\n')) continue;
      const chosen = select.value;
      select.replaceChildren(...wanted.map((name) => el('option', { value: name }, name || 'any')));
      select.value = wanted.includes(chosen) ? chosen : '';
    }
  }

  #show(): void {
    const follows = !this.#paused && !this.#rows.held;
    if (follows) this.#held = undefined;
    else this.#held ??= this.#items.slice();
    const list = this.#held ?? this.#items;
    this.#rows.show(Math.min(list.length, MOST_ITEMS), (index) => list[list.length - 1 - index]);
    at('events-held').hidden = follows;
  }

  #summarize(): void {
    if (this.#came === 0) return;
    const missed = this.#missed > 0 ? `, ${this.#missed} were missed (gap)` : '';
    setText(at('events-summary'), `${this.#came} events in the last ${SUMMARY_MS / 1000} s${missed}`);
    this.#came = 0;
    this.#missed = 0;
  }
}

function fill(row: HTMLTableRowElement, item: MonitorItem): void {
  const [seq, time, kind, text, story] = row.cells;
  setText(seq!, String(item.seq));
  setText(time!, item.time.slice(11, 23));
  setText(kind!, labelOf(item));
  setText(text!, tellItem(item));
  const button = story!.firstElementChild as HTMLButtonElement;
  button.hidden = !('remote' in item);
  if ('remote' in item) button.setAttribute('aria-label', `story of ${item.protocol} ${item.local} ${item.remote}`);
  row.dataset.kind = item.kind;
}
