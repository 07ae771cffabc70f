import type { FlowEvent, MonitorItem } from '../monitor/index.ts';
import { describeItem } from '../monitor/index.ts';
import type { ListedFlow, LiveExplanation, LiveExplanations } from '../service/index.ts';
import { at, el, setText } from './dom.ts';
import { duration } from './format.ts';
import { ask, get } from './service.ts';

type Ends = Pick<ListedFlow, 'protocol' | 'local' | 'remote'>;
type Told = FlowEvent & Pick<MonitorItem, 'seq' | 'time'>;

const VERDICTS: Readonly<Record<string, string>> = {
  decides: 'decides',
  takes: 'would take it too',
  fails: 'does not take it',
};

/** Of one flow: why it is where it is, what of each rule holds for it, and everything that the event stream told of it. */
export class Story {
  readonly #dialog = at<HTMLDialogElement>('story');
  #flow: Ends | undefined;
  #last = 0;

  constructor() {
    at('story-close').addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('close', () => {
      this.#flow = undefined;
    });
  }

  open(flow: Ends): void {
    this.#flow = flow;
    this.#last = 0;
    setText(at('story-title'), `${flow.protocol} ${flow.local} and ${flow.remote}`);
    setText(at('story-now'), 'asking …');
    at('story-rules').replaceChildren();
    at('story-filters').replaceChildren();
    at('story-events').replaceChildren();
    this.#dialog.showModal();
    void this.#explain(flow);
    void this.#recall(flow);
  }

  /** What comes while it is open. */
  add(items: readonly MonitorItem[]): void {
    const flow = this.#flow;
    if (!flow) return;
    const its = items.filter((item): item is Told & MonitorItem => isOf(flow, item) && item.seq > this.#last);
    if (its.length === 0) return;
    this.#tell(its);
    void this.#explain(flow);
  }

  async #explain(flow: Ends): Promise<void> {
    try {
      const text = `${flow.protocol} ${flow.local} -> ${flow.remote}`;
      const [found] = (await get<LiveExplanations>(`/explain?${new URLSearchParams({ flow: text })}`)).flows;
      if (this.#flow !== flow || !found) return;
      const { queue, rule, classes, mark, rules, decided, filters } = found;
      const where = `It is in ${queue}, ${rule === null ? `by the default of its origin (${(found.facts as { origin: string }).origin})` : `by rule ${rule}`}, for ${duration(decided)}.`;
      const how = `Class ${classes[0]} arriving, ${classes[1]} leaving; ${mark === 0 ? 'no class in its mark' : `class ${mark} in its mark`}.`;
      setText(at('story-now'), `${where} ${how}`);
      at('story-rules').replaceChildren(...rules.map(rowOf));
      at('story-filters').replaceChildren(...filters.map((one) => el('li', {}, el('code', {}, one))));
      at('story-rules-none').hidden = rules.length > 0;
    } catch (error) {
      if (this.#flow === flow)
        setText(at('story-now'), `It is there no more, or nobody could say: ${(error as Error).message}`);
    }
  }

  async #recall(flow: Ends): Promise<void> {
    const address = flow.remote.replace(/^\[(.*)\](:\d+)?$/, '$1').replace(/^([^:]*):\d+$/, '$1');
    const parameters = new URLSearchParams({ since: '0', follow: '0', kind: 'flow.*', address });
    const text = await (await ask(`/events?${parameters}`).catch(() => undefined))?.text();
    if (this.#flow !== flow || !text) return;
    const items = text.trim().split('\n');
    this.#tell(
      items
        .map((line) => JSON.parse(line) as MonitorItem)
        .filter((item): item is Told & MonitorItem => isOf(flow, item)),
    );
  }

  #tell(items: readonly (Told & MonitorItem)[]): void {
    const fresh = items.filter(({ seq }) => seq > this.#last);
    this.#last = fresh.at(-1)?.seq ?? this.#last;
    at('story-events').append(...fresh.map(tellOne));
    at('story-events-none').hidden = at('story-events').childElementCount > 0;
  }
}

const isOf = ({ protocol, local, remote }: Ends, item: MonitorItem): boolean =>
  'remote' in item && item.remote === remote && item.local === local && item.protocol === protocol;

function tellOne(item: Told & MonitorItem): HTMLElement {
  const because = (item.because ?? []).map(({ term, value }) =>
    value === undefined ? term : `${term}, it is ${value}`,
  );
  const entry = el('li', {}, el('time', { datetime: item.time }, item.time.slice(11, 23)), ' ', describeItem(item));
  if (because.length > 0) entry.append(el('p', {}, `because ${because.join('; ')}`));
  return entry;
}

function rowOf({ name, line, verdict, because, change }: LiveExplanation['rules'][number]): HTMLElement {
  const terms = (list: readonly { text: string; value?: string | undefined }[] | null) =>
    (list ?? []).map(({ text, value }) => (value === undefined ? text : `${text} (it is ${value})`)).join('; ');
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
