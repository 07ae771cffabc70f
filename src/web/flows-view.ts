import type { FlowList, ListedFlow } from '../service/index.ts';
import { at, el, setText } from './dom.ts';
import { duration, rate, size } from './format.ts';
import { Rows } from './rows.ts';
import { get } from './service.ts';

/** As many as the service lists at once. */
const MOST_FLOWS = 10_000;
const CELLS = 10;
const ARROWS: Readonly<Record<string, string>> = { local: '→', remote: '←', new: '↔' };

/** The flows that there are, the busiest first, and those alone of which a condition of the policy language holds. */
export class FlowsView {
  readonly #rows: Rows<ListedFlow>;
  readonly #summary = at('flows-summary');
  readonly #where = at<HTMLInputElement>('where');
  readonly #sort = at<HTMLSelectElement>('sort');
  readonly #pause = at<HTMLButtonElement>('flows-pause');
  #asked = '';
  /** What was asked for what is shown. */
  #shown: string | undefined;
  #paused = false;

  constructor(again: () => void, tell: (flow: ListedFlow) => void) {
    const make = (open: () => void) => {
      const button = el('button', { type: 'button', class: 'flow', tabindex: '-1' });
      button.addEventListener('click', open);
      const row = el('tr', {}, el('th', { scope: 'row' }, button));
      for (let i = 1; i < CELLS; i++) row.append(el('td', i > 4 ? { class: 'number' } : {}));
      return row;
    };
    this.#rows = new Rows(at('flows-scroller'), make, fill, tell);
    at('flows-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#asked = this.#where.value.trim();
      again();
    });
    this.#sort.addEventListener('change', again);
    this.#pause.addEventListener('click', () => {
      this.#paused = !this.#paused;
      this.#pause.setAttribute('aria-pressed', String(this.#paused));
      if (!this.#paused) again();
    });
  }

  /** Asks for the flows. A condition with a mistake is said, and what was there stays. */
  async read(): Promise<void> {
    const parameters = new URLSearchParams({ sort: this.#sort.value, limit: String(MOST_FLOWS), rates: '1' });
    if (this.#asked) parameters.set('where', this.#asked);
    const query = String(parameters);
    // Rows do not move away under who looks at one, unless he asks for others.
    const held = query === this.#shown && (this.#paused || this.#rows.held);
    at('flows-held').hidden = !held;
    if (held) return;
    const problem = at('where-problem');
    try {
      const { total, matched, flows, unknown } = await get<FlowList>(`/flows?${query}`);
      const shown = matched > flows.length ? `, the first ${flows.length} of them here` : '';
      const said = unknown.length > 0 ? `; not known of every flow: ${unknown.join(', ')}` : '';
      setText(this.#summary, `${matched} of ${total} flows${shown}${said}`);
      setText(problem, '');
      this.#where.removeAttribute('aria-invalid');
      this.#shown = query;
      this.#rows.show(flows.length, (index) => flows[index]);
    } catch (error) {
      if (!(error instanceof Error) || !('status' in error) || error.status !== 409) throw error;
      setText(problem, error.message);
      this.#where.setAttribute('aria-invalid', 'true');
    }
  }
}

function fill(row: HTMLTableRowElement, flow: ListedFlow): void {
  const { protocol, local, remote, origin, queue, rule, age, bytes, rate: speed, unit, process, domains } = flow;
  const cells = row.cells;
  const button = cells[0]!.firstElementChild!;
  setText(button, local);
  button.setAttribute('aria-label', `${protocol} ${local} ${remote}, opened by ${origin}: its story`);
  const texts = [
    ...[`${ARROWS[origin] ?? ''} ${origin}`, remote, protocol],
    `${queue}${rule ? ` by ${rule}` : ''}`,
    ...(speed ? [rate(speed.in), rate(speed.out)] : ['–', '–']),
    ...(bytes ? [size(bytes.in), size(bytes.out)] : ['–', '–']),
    [age === undefined ? '' : duration(age), domains?.[0] ?? unit ?? process ?? ''].filter(Boolean).join(' · '),
  ];
  texts.forEach((text, i) => {
    setText(cells[i + 1]!, text);
  });
}
