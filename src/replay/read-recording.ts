import { type End, ORIGINS, type Origin, PROTOCOLS, parseEnd } from '../model/index.ts';
import type { RecordedLine, RecordingHead } from './recorder.ts';
import type { Recording } from './recording.ts';

/** Reads what `headgate record` has written, line by line, into a recording. */
export class RecordingReader {
  readonly #into: Recording;
  /** Number of this run's first flow, and of its first place. */
  #flows = 0;
  #places = 0;
  #time = Number.NaN;

  constructor(into: Recording) {
    this.#into = into;
  }

  /** Takes a line. One that cannot be read is counted, and passed over. */
  take(text: string): void {
    try {
      const line = JSON.parse(text) as RecordedLine | RecordingHead;
      if ('headgate' in line) this.#begin(line);
      else this.#follow(line);
    } catch {
      this.#into.torn++;
    }
  }

  #begin({ version, time }: RecordingHead): void {
    if (version !== 1) throw new Error('another version');
    const into = this.#into;
    into.runs++;
    // What the run before was in the middle of, nobody has followed since.
    for (let flow = this.#flows; flow < into.flows; flow++)
      if (into.isOpen(flow)) into.end(flow, this.#time, undefined);
    // A clock that was set back must not make time run backwards.
    this.#time = Math.max(Date.parse(time), Number.isNaN(this.#time) ? 0 : this.#time);
    this.#flows = into.flows;
    this.#places = into.places.length;
  }

  #follow(line: RecordedLine): void {
    if (Number.isNaN(this.#time)) throw new Error('no head');
    const into = this.#into;
    if (line[0] === 'p') {
      into.places.push({ queue: String(line[1]), rule: line[2] });
      return;
    }
    const time = this.#time + line[1];
    if (!(time >= this.#time)) throw new Error('no time');
    switch (line[0]) {
      case 'n': {
        const [, , protocol, local, remote, origin, place, age = 0, zone = 0, ...before] = line;
        const [one, other, at] = [readEnd(local), readEnd(remote), this.#placeOf(place)];
        if (one.address.length !== other.address.length) throw new Error('two families');
        const flow = into.add({
          protocol: PROTOCOLS[protocol as keyof typeof PROTOCOLS] ?? numberOf(protocol),
          local: one,
          remote: other,
          origin: readOrigin(origin),
          ...{ zone, time, began: age < 0 ? Number.NaN : time - age },
        });
        into.setPlace(flow, at);
        const [a, b, c, d] = before;
        if (d !== undefined && before.every(Number.isFinite)) into.setBefore(flow, [a!, b!, c!, d]);
        break;
      }
      case 'u':
        into.setPlace(this.#flowOf(line[2]), this.#placeOf(line[3]));
        break;
      case 'c':
      case 'e': {
        const [, , flow, ...counts] = line;
        const [a, b, c, d] = counts;
        into.end(this.#flowOf(flow), time, a !== undefined && d !== undefined ? [a, b!, c!, d] : undefined);
        break;
      }
      case 'x':
        if (line[2] !== 'resync') into.losses++;
        break;
      default:
        throw new Error('unknown');
    }
    this.#time = time;
  }

  #flowOf(number: number): number {
    const flow = this.#flows + number;
    if (!Number.isInteger(number) || number < 0 || flow >= this.#into.flows) throw new Error('no such flow');
    return flow;
  }

  #placeOf(number: number): number {
    const place = this.#places + number;
    if (!this.#into.places[place]) throw new Error('no such place');
    return place;
  }
}

function numberOf(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0 || number > 255) throw new Error('no protocol');
  return number;
}

function readOrigin(text: string): Origin {
  if (!(ORIGINS as readonly string[]).includes(text)) throw new Error('no origin');
  return text as Origin;
}

function readEnd(text: string): End {
  const end = parseEnd(text);
  if (!end) throw new Error('no end');
  return end;
}
