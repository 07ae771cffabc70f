type Close = () => unknown;

/** What was opened, to be closed in the reverse order; each one is closed, also when another fails to. */
export class Closers {
  readonly #stack: Close[] = [];

  add(close: Close): void {
    this.#stack.push(close);
  }

  /** @throws the first failure, after all are closed */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const close of this.#stack.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
