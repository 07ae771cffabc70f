import type { PolicyView } from '../service/index.ts';
import { at, el, setText } from './dom.ts';

/** The policy as its author wrote it; beside the first line of each rule, how many flows it came to take. */
export class PolicyText {
  readonly #place = at('policy');
  #shown = '';

  show({ file, texts, rules, defaults }: PolicyView): void {
    setText(at('policy-file'), file);
    const wanted = JSON.stringify(texts);
    if (wanted !== this.#shown) {
      this.#shown = wanted;
      this.#place.replaceChildren(...texts.map((one) => textOf(one, texts.length > 1)));
      if (texts.length === 0) this.#place.append('Its text is not here: it was taken over from a run before.');
    }
    for (const { name, file, line, hits } of rules) {
      const place = this.#place.querySelector(`[data-line="${CSS.escape(`${file}:${line}`)}"]`);
      if (!place) continue;
      setText(place, String(hits));
      place.setAttribute('aria-label', `rule ${name}: ${hits} flows`);
    }
    const none = defaults.map(({ origin, queue, hits }) => `${origin} → ${queue}: ${hits}`);
    setText(at('policy-defaults'), `Flows that no rule took: ${none.join(', ')}`);
  }
}

function textOf({ file, text }: PolicyView['texts'][number], named: boolean): HTMLElement {
  const lines = text.replace(/\n$/, '').split('\n');
  const body = lines.map((line, i) =>
    el(
      'tr',
      {},
      el('td', { class: 'number', 'data-line': `${file}:${i + 1}` }),
      el('td', { class: 'number quiet' }, String(i + 1)),
      el('td', {}, el('code', {}, line || ' ')),
    ),
  );
  const head = ['flows', 'line', 'text'].map((name) => el('th', { scope: 'col' }, name));
  return el(
    'table',
    { class: 'source' },
    el('caption', named ? {} : { class: 'unseen' }, file),
    el('thead', {}, el('tr', {}, ...head)),
    el('tbody', {}, ...body),
  );
}
