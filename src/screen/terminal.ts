import { emitKeypressEvents, type Key } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';

/** Alternate screen, no cursor, no wrapping (console_codes(4), xterm's ctlseqs). */
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[2J';
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l';
const ENDINGS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * The whole terminal, from {@link open} to {@link close}: it is given back as it was however the process ends, but by
 * SIGKILL. While it is stopped by Ctrl-Z the shell has it.
 */
export class Terminal {
  readonly #input: ReadStream;
  readonly #output: WriteStream;
  readonly #undo: (() => void)[] = [];
  #shown: string[] = [];
  #open = false;

  constructor(input: ReadStream, output: WriteStream) {
    this.#input = input;
    this.#output = output;
  }

  get columns(): number {
    return this.#output.columns || 80;
  }

  get rows(): number {
    return this.#output.rows || 24;
  }

  /** `key` is called with each key that is pressed, `ended` when the process is to end, `changed` when everything is to be drawn again. */
  open(key: (name: string, text: string | undefined) => void, ended: () => void, changed: () => void): void {
    this.#listen(process, 'exit', () => this.#leave());
    for (const signal of ENDINGS) this.#listen(process, signal, ended);
    this.#listen(process, 'SIGCONT', () => {
      // Whoever else has stopped us left the terminal as it was, and the shell has had it since.
      this.#leave();
      this.#enter();
      changed();
    });
    this.#listen(this.#output, 'resize', () => {
      this.#shown = [];
      this.#output.write('\u001b[2J');
      changed();
    });
    // The terminal has gone.
    this.#listen(this.#output, 'error', ended);
    this.#listen(this.#input, 'end', ended);
    this.#listen(this.#input, 'error', ended);
    emitKeypressEvents(this.#input);
    this.#listen(this.#input, 'keypress', (text: string | undefined, { name, ctrl }: Key) => {
      if (ctrl && name === 'c') ended();
      else if (ctrl && name === 'z') this.#suspend();
      else if (ctrl && name === 'l') {
        this.#shown = [];
        changed();
      } else if (!ctrl) key(name ?? text ?? '', text);
    });
    this.#enter();
  }

  /** Shows these lines, from the top. Lines that are as they were are not sent again: over ssh that is most of them. */
  draw(lines: readonly string[]): void {
    if (!this.#open) return;
    let out = '';
    lines.forEach((line, i) => {
      if (this.#shown[i] !== line) out += `\u001b[${i + 1};1H\u001b[K${line}`;
    });
    if (lines.length < this.#shown.length) out += `\u001b[${lines.length + 1};1H\u001b[J`;
    this.#shown = [...lines];
    if (out) this.#output.write(out);
  }

  close(): void {
    this.#leave();
    for (const undo of this.#undo.splice(0)) undo();
    this.#input.pause();
  }

  #enter(): void {
    if (this.#open) return;
    this.#open = true;
    this.#shown = [];
    this.#input.setRawMode(true);
    this.#input.resume();
    this.#output.write(ENTER);
  }

  #leave(): void {
    if (!this.#open) return;
    this.#open = false;
    // Whoever is gone cannot be told.
    try {
      this.#output.write(LEAVE);
      this.#input.setRawMode(false);
    } catch {}
  }

  #suspend(): void {
    this.#leave();
    process.kill(process.pid, 'SIGSTOP');
  }

  // biome-ignore lint/suspicious/noExplicitAny: arguments are the emitter's
  #listen(emitter: NodeJS.EventEmitter, event: string, listener: (...args: any[]) => void): void {
    emitter.on(event, listener);
    this.#undo.push(() => void emitter.off(event, listener));
  }
}
