import type { MonitorItem } from '../monitor/index.ts';
import { describeItem } from '../monitor/index.ts';
import type { ListedFlow, LiveExplanation, LiveExplanations } from '../service/index.ts';
import { type Connection, repeat } from './connection.ts';
import { at, el, setText } from './dom.ts';
import { duration } from './format.ts';
import { ask, get, Refused } from './service.ts';

type Ends = Pick<ListedFlow, 'protocol' | 'local' | 'remote'>;

/** Ms between two looks at the flow whose story is open. */
const STORY_MS = 2000;

const VERDICTS: Readonly<Record<string, string>> = {
  decides: 'decides',
  takes: 'would take it too',
  fails: 'does not take it',
};

/**
 * Of one flow: why it is where it is, what of each rule holds for it, and everything that the event stream told of it. While it is
 * open it asks for itself, whatever the filter of the events is.
 */
export class Story {
  readonly #dialog = at<HTMLDialogElement>('story');
  #flow: Ends | undefined;
  /** Items up to this one were told: `SESSION-SEQ`. */
  #since = '0';
  /** Of the rules in sight. */
  #rules = '';
  /** Asks at once, where it is open. */
  readonly again: () => void;

  constructor(connection: Connection) {
    this.again = repeat(STORY_MS, connection, () => this.#read());
    at('story-close').addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('close', () => {
      this.#flow = undefined;
    });
  }

  open(flow: Ends): void {
    this.#flow = flow;
    this.#since = '0';
    this.#rules = '';
    setText(at('story-title'), `${flow.protocol} ${flow.local} and ${flow.remote}`);
    setText(at('story-now'), 'asking …');
    setText(at('story-age'), '');
    at('story-rules').replaceChildren();
    at('story-filters').replaceChildren();
    at('story-events').replaceChildren();
    this.#dialog.showModal();
    this.again();
  }

  async #read(): Promise<void> {
    const flow = this.#flow;
    if (flow) await Promise.all([this.#explain(flow), this.#hear(flow)]);
  }

  async #explain(flow: Ends): Promise<void> {
    try {
      const ends = `${flow.protocol} ${flow.local} -> ${flow.remote}`;
      const [found] = (await get<LiveExplanations>(`/explain?${new URLSearchParams({ flow: ends })}`)).flows;
      if (this.#flow !== flow || !found) return;
      const { queue, rule, classes, mark, rules, decided, filters } = found;
      const where = `It is in ${queue}, ${rule === null ? `by the default of its origin (${(found.facts as { origin: string }).origin})` : `by rule ${rule}`}.`;
      const how = `Class ${classes[0]} arriving, ${classes[1]} leaving; ${mark === 0 ? 'no class in its mark' : `class ${mark} in its mark`}.`;
      setText(at('story-now'), `${where} ${how}`);
      setText(at('story-age'), `So for ${duration(decided)}.`);
      const text = JSON.stringify(rules);
      if (text !== this.#rules) at('story-rules').replaceChildren(...rules.map(rowOf));
      this.#rules = text;
      at('story-filters').replaceChildren(...filters.map((one) => el('li', {}, el('code', {}, one))));
      at('story-rules-none').hidden = rules.length > 0;
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 409) throw error;
      if (this.#flow !== flow) return;
      setText(at('story-now'), `It is there no more: ${error.message}`);
      setText(at('story-age'), '');
    }
  }

  /** What was told of it since the last look. */
  async #hear(flow: Ends): Promise<void> {
    const address = flow.remote.replace(/^\[(.*)\](:\d+)?$/, '$1').replace(/^([^:]*):\d+$/, '$1');
    const first = this.#since === '0';
    const parameters = new URLSearchParams({ since: this.#since, follow: '0', kind: 'flow.*', address });
    const text = await (await ask(`/events?${parameters}`)).text();
    if (this.#flow !== flow) return;
    const items = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as MonitorItem);
    for (const item of items)
      if (item.kind === 'stream') this.#since = `${item.session}-${Math.max(item.newest, items.at(-1)!.seq)}`;
    const its = items.filter((item) => item.kind === 'gap' || isOf(flow, item));
    // What was before its beginning was not about it.
    if (first && its[0]?.kind === 'gap' && its[1]?.kind === 'flow.new') its.shift();
    at('story-events').append(...its.map(tellOne));
    at('story-events-none').hidden = at('story-events').childElementCount > 0;
  }
}

const isOf = ({ protocol, local, remote }: Ends, item: MonitorItem): boolean =>
  'remote' in item && item.remote === remote && item.local === local && item.protocol === protocol;

function tellOne(item: MonitorItem): HTMLElement {
  const because = (('because' in item && item.because) || []).map(({ term, value }) =>
    value === undefined ? term : `${term}, it is ${value}`,
  );
  const entry = el('li', {}, el('time', { datetime: item.time }, item.time.slice(11, 23)), ' ', describeItem(item));
  if (because.length > 0) entry.append(el('p', {}, `because ${because.join('; ')}`));
  return entry;
}

function rowOf({ name, line, verdict, because, change }: LiveExplanation['rules'][number]): HTMLElement {
  const terms = (list: readonly { text: string; value?: string | undefined }[] | null) =>
    (list ?? [])
      .map(({ text, value }) => `${text} (${value === undefined ? 'not known' : `it is ${value}`})`)
      .join('; ');
  return el(
    'tr',
    { 'data-verdict': verdict },
    el('th', { scope: 'row' }, name),
    el('td', { class: 'number' }, String(line)),
    el('td', {}, VERDICTS[verdict] ?? verdict),
    el('td', {}, terms(because)),
    el('td', {}, change === null ? 'nothing can' : terms(change)),
  );
}
