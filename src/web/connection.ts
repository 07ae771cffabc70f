import { at, setText } from './dom.ts';
import { Refused } from './service.ts';

/** Ms until who does not answer is asked again. */
const AGAIN_MS = 2000;

/** Says whether the service answers, and what to do where it does not. */
export class Connection {
  #refused = false;
  #gone = false;
  readonly #place = at('connection');

  /** The key is wrong: asking again does not help. */
  get refused(): boolean {
    return this.#refused;
  }

  answered(): void {
    this.#refused = false;
    this.#gone = false;
    this.#show('live', 'live');
  }

  failed(error: unknown): void {
    if (error instanceof DOMException && error.name === 'AbortError') return;
    if (error instanceof Refused && error.status === 401) {
      this.#refused = true;
      this.#show(
        'refused',
        'This page has no key for the headgate that runs: each start makes another. Type `headgate web` there, and open the address that it prints.',
      );
    } else if (!this.#refused) {
      this.#gone = true;
      const status = error instanceof Refused ? error.status : 0;
      const why = status === 503 ? 'it is starting, or stopping' : status ? (error as Error).message : 'nobody answers';
      this.#show(
        'gone',
        `Headgate does not answer (${why}). What is shown is old. It is asked again every two seconds; \`headgate status\` says on the box how it is.`,
      );
    }
  }

  get gone(): boolean {
    return this.#gone;
  }

  #show(state: string, text: string): void {
    document.documentElement.dataset.connection = state;
    setText(this.#place, text);
  }
}

/**
 * Runs a task again and again, `ms` after its end, while the page is seen; longer after one that took long. The result
 * has it run at once.
 */
export function repeat(ms: number, connection: Connection, task: () => Promise<void>): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running = false;
  let wanted = false;
  const run = async () => {
    clearTimeout(timer);
    wanted = true;
    if (running || document.hidden || connection.refused) return;
    running = true;
    const begun = performance.now();
    while (wanted) {
      wanted = false;
      await task().catch((error) => connection.failed(error));
    }
    running = false;
    const took = performance.now() - begun;
    timer = setTimeout(run, connection.gone ? AGAIN_MS : Math.max(ms, 2 * took));
  };
  document.addEventListener('visibilitychange', run);
  void run();
  return run;
}
