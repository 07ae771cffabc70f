import { el, redraw } from './dom.ts';

/** Pixels of a row, and of the head, as page.css has it. */
const ROW = 28;
/** Rows beyond the edges that are there already when somebody scrolls. */
const SPARE = 4;

/**
 * A table of any length, of which only the rows in sight exist: they are used again for others when it scrolls. It is one stop of
 * the Tab key; the arrows go from row to row, Enter opens one, Escape leaves it (a grid, as ARIA has it).
 */
export class Rows<T> {
  readonly #scroller: HTMLElement;
  readonly #table: HTMLTableElement;
  readonly #above = el('tr', { 'aria-hidden': 'true', class: 'space' });
  readonly #below = el('tr', { 'aria-hidden': 'true', class: 'space' });
  readonly #rows: HTMLTableRowElement[] = [];
  readonly #items = new WeakMap<HTMLTableRowElement, T>();
  readonly #make: (open: () => void) => HTMLTableRowElement;
  readonly #fill: (row: HTMLTableRowElement, item: T) => void;
  readonly #open: (item: T) => void;
  #length = 0;
  #item: (index: number) => T | undefined = () => undefined;
  #active: number | undefined;

  /**
   * @param make an empty row; its argument opens what is in it
   * @param fill puts an item in the place of what is in it
   */
  constructor(
    scroller: HTMLElement,
    make: (open: () => void) => HTMLTableRowElement,
    fill: (row: HTMLTableRowElement, item: T) => void,
    open: (item: T) => void,
  ) {
    this.#scroller = scroller;
    this.#table = scroller.querySelector('table')!;
    this.#table.tBodies[0]!.append(this.#above, this.#below);
    this.#make = make;
    this.#fill = fill;
    this.#open = open;
    scroller.addEventListener('scroll', () => redraw(this.#draw), { passive: true });
    new ResizeObserver(() => redraw(this.#draw)).observe(scroller);
    this.#table.addEventListener('keydown', (event) => {
      if (this.#press(event.key)) event.preventDefault();
    });
    this.#table.addEventListener('focusout', () => {
      // Whoever looks at a story comes back to its row.
      if (!document.querySelector('dialog[open]')) this.#go(undefined);
    });
  }

  /** Somebody looks at one of the rows, or behind the first: they are not to move away under him. */
  get held(): boolean {
    return this.#active !== undefined || this.#scroller.scrollTop >= ROW;
  }

  /** @param item the one at this place, when it comes in sight */
  show(length: number, item: (index: number) => T | undefined): void {
    this.#length = length;
    this.#item = item;
    redraw(this.#draw);
  }

  #press(key: string): boolean {
    const page = Math.floor(this.#scroller.clientHeight / ROW) - 2;
    const at = this.#active ?? -1;
    const next: Readonly<Record<string, number>> = {
      ...{ ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page },
      ...{ Home: 0, End: this.#length - 1 },
    };
    if (key === 'Escape') this.#go(undefined);
    else if (key === 'Enter') {
      const item = this.#active === undefined ? undefined : this.#item(this.#active);
      if (item) this.#open(item);
    } else if (Object.hasOwn(next, key)) this.#go(Math.max(0, Math.min(next[key]!, this.#length - 1)));
    else return false;
    return true;
  }

  #go(index: number | undefined): void {
    if (index === this.#active) return;
    this.#active = index;
    if (index !== undefined) {
      const { scrollTop, clientHeight } = this.#scroller;
      const top = index * ROW;
      // The head covers the first row's place.
      if (top < scrollTop) this.#scroller.scrollTop = top;
      else if (top + 2 * ROW > scrollTop + clientHeight) this.#scroller.scrollTop = top + 2 * ROW - clientHeight;
    }
    redraw(this.#draw);
  }

  readonly #draw = (): void => {
    const length = this.#length;
    const first = Math.max(0, Math.min(Math.floor(this.#scroller.scrollTop / ROW) - SPARE, length));
    const count = Math.min(Math.ceil(this.#scroller.clientHeight / ROW) + 2 * SPARE, length - first);
    while (this.#rows.length < count) {
      const row = this.#make(() => {
        const item = this.#items.get(row);
        if (item) this.#open(item);
      });
      row.id = `${this.#scroller.id}-${this.#rows.length}`;
      this.#rows.push(row);
      this.#below.before(row);
    }
    for (const row of this.#rows.splice(count)) row.remove();
    let active: string | undefined;
    this.#rows.forEach((row, i) => {
      const isActive = first + i === this.#active;
      if (isActive) active = row.id;
      row.classList.toggle('active', isActive);
      row.setAttribute('aria-rowindex', String(first + i + 2));
      const item = this.#item(first + i);
      if (item === undefined) return;
      this.#items.set(row, item);
      this.#fill(row, item);
    });
    if (active === undefined) this.#table.removeAttribute('aria-activedescendant');
    else this.#table.setAttribute('aria-activedescendant', active);
    this.#table.setAttribute('aria-rowcount', String(length + 1));
    this.#above.style.height = `${first * ROW}px`;
    this.#below.style.height = `${(length - first - count) * ROW}px`;
  };
}
