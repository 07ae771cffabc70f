// Elements of the page. Text is set as text, never as markup.

type Child = Node | string;

/** Makes an element with these attributes. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The element of index.html with that id. */
export function at<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element as T;
}

/** Sets a text where it is another: nothing is laid out anew for what has not changed. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

const waiting = new Set<() => void>();

/** Draws before the next picture, once for all that ask for it until then. */
export function redraw(draw: () => void): void {
  if (waiting.size === 0)
    requestAnimationFrame(() => {
      const now = [...waiting];
      waiting.clear();
      for (const one of now) one();
    });
  waiting.add(draw);
}
