import type { PolicyView } from '../service/index.ts';
import { at, el, setText } from './dom.ts';

/** The policy as its author wrote it; beside the first line of each rule, how many flows it came to take. */
export class PolicyText {
  readonly #place = at('policy');
  #shown = '';
  /** Where the hits of a line stand, by file and line. */
  readonly #hits = new Map<string, HTMLElement>();

  show({ file, texts, rules, defaults }: PolicyView): void {
    setText(at('policy-file'), file);
    const wanted = JSON.stringify(texts);
    if (wanted !== this.#shown) {
      this.#shown = wanted;
      this.#hits.clear();
      this.#place.replaceChildren(...texts.map((one) => this.#tableOf(one, texts.length > 1)));
      if (texts.length === 0) this.#place.append('Its text is not here: it was taken over from a run before.');
    }
    for (const { name, file, line, hits } of rules) {
      const place = this.#hits.get(`${file}:${line}`);
      if (!place) continue;
      setText(place, String(hits));
      place.setAttribute('aria-label', `rule ${name}: ${hits} flows`);
    }
    const none = defaults.map(({ origin, queue, hits }) => `${origin} → ${queue}: ${hits}`);
    setText(at('policy-defaults'), `Flows that no rule took: ${none.join(', ')}`);
  }

  #tableOf({ file, text }: PolicyView['texts'][number], named: boolean): HTMLElement {
    const lines = text.replace(/\n$/, '').split('\n');
    const body = lines.map((line, i) => {
      const hits = el('td', { class: 'number' });
      this.#hits.set(`${file}:${i + 1}`, hits);
      const number = el('td', { class: 'number quiet' }, String(i + 1));
      return el('tr', {}, hits, number, el('td', {}, el('code', {}, line || ' ')));
    });
    const head = ['flows', 'line', 'text'].map((name) => el('th', { scope: 'col' }, name));
    return el(
      'table',
      { class: 'source' },
      el('caption', named ? {} : { class: 'unseen' }, file),
      el('thead', {}, el('tr', {}, ...head)),
      el('tbody', {}, ...body),
    );
  }
}
