import { type Address, type Origin, type Prefix, parseAddress, prefixContains } from '../model/index.ts';
import type { Recording, Totals } from './recording.ts';

/** One direction of an entry. */
interface Half {
  source: Address;
  destination: Address;
  sourcePort?: number | undefined;
  destinationPort?: number | undefined;
  bytes?: number | undefined;
  packets?: number | undefined;
}
interface Entry {
  readonly protocol: number;
  readonly zone: number;
  readonly original: Half;
  readonly reply: Half;
}

/** What stands around the flows in its XML. */
export const isFrame = (line: string): boolean => /^\s*(<\?xml|<\/?conntrack>)/.test(line);

/**
 * Reads what conntrack(8) prints: `conntrack -E -o xml,timestamp,id` event by event, or `conntrack -L`, whose flows all begin at one moment
 * with what they have carried. It does not tell who is inside: `inside` does, and flows with both ends there are left out.
 */
export class ConntrackReader {
  readonly #into: Recording;
  readonly #inside: readonly Prefix[];
  readonly #open = new Map<string, number>();
  #time = 0;

  constructor(into: Recording, inside: readonly Prefix[]) {
    this.#into = into;
    this.#inside = inside;
  }

  /** Takes a line. One that cannot be read is counted, and passed over. */
  take(line: string): void {
    const text = line.trim();
    if (text.startsWith('<flow')) this.#event(text);
    else this.#entry(text);
  }

  #event(text: string): void {
    const type = /^<flow type="(\w+)"/.exec(text)?.[1];
    const when =
      /<hour>(\d+)<\/hour><min>(\d+)<\/min><sec>(\d+)<\/sec>.*<day>(\d+)<\/day><month>(\d+)<\/month><year>(\d+)/.exec(
        text,
      );
    const halves = [...text.matchAll(/<meta direction="(?:original|reply)">(.*?)<\/meta>/g)].map(([, half]) =>
      readXml(half!),
    );
    const protocol = Number(/<layer4 protonum="(\d+)"/.exec(text)?.[1]);
    const [original, reply] = halves;
    if (!type || !when || !original || !reply || Number.isNaN(protocol)) {
      this.#into.torn++;
      return;
    }
    const [hour, minute, second, day, month, year] = when.slice(1).map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    // In seconds, and by the clock of the wall.
    this.#time = Math.max(this.#time, new Date(year, month - 1, day, hour, minute, second).getTime());
    const key = `${/<id>(\d+)/.exec(text)?.[1] ?? ''} ${protocol} ${textOf(original)}`;
    const zone = Number(/<zone>(\d+)/.exec(text)?.[1] ?? 0);
    const entry = { protocol, zone, original, reply };
    if (type === 'new') this.#begin(key, entry, this.#time);
    // Nobody told of its beginning: the log begins later, or has lost it.
    else if (!this.#open.has(key) && this.#begin(key, entry, Number.NaN) !== undefined) this.#into.unbegun++;
    if (type === 'destroy') this.#end(key, entry);
  }

  #entry(text: string): void {
    const fields = [...text.matchAll(/\b(src|dst|sport|dport|packets|bytes)=(\S+)/g)];
    const second = fields.findIndex(([, name], i) => name === 'src' && i > 0);
    const [original, reply] = [fields.slice(0, second), fields.slice(second)].map(readFields);
    const protocol = Number(/^(?:ipv[46]\s+\d+\s+)?\S+\s+(\d+)\s/.exec(text)?.[1]);
    if (second < 0 || !original || !reply || Number.isNaN(protocol)) {
      this.#into.torn++;
      return;
    }
    const zone = Number(/\bzone=(\d+)/.exec(text)?.[1] ?? 0);
    const entry = { protocol, zone, original, reply };
    const flow = this.#begin(`${this.#into.flows}`, entry, Number.NaN);
    const totals = flow === undefined ? undefined : totalsOf(entry, this.#into.originOf(flow));
    if (flow !== undefined && totals) this.#into.setTotals(flow, totals);
    this.#into.listed = true;
  }

  #begin(key: string, entry: Entry, began: number): number | undefined {
    const origin = this.#originOf(entry);
    if (!origin) return undefined;
    const { protocol, zone, original, reply } = entry;
    // The answerer as it is behind DNAT, the opener as it is before masquerade.
    const opener = { address: original.source, port: original.sourcePort };
    const answerer = { address: reply.source, port: reply.sourcePort };
    const [local, remote] = origin === 'local' ? [opener, answerer] : [answerer, opener];
    const flow = this.#into.add({ protocol, zone, local, remote, origin, time: this.#time, began });
    this.#open.set(key, flow);
    return flow;
  }

  #end(key: string, entry: Entry): void {
    const flow = this.#open.get(key);
    if (flow === undefined) return;
    this.#open.delete(key);
    this.#into.end(flow, this.#time, totalsOf(entry, this.#into.originOf(flow)));
  }

  #originOf({ original, reply }: Entry): Origin | undefined {
    const isInside = (address: Address) => this.#inside.some((prefix) => prefixContains(prefix, address));
    const [opener, answerer] = [isInside(original.source), isInside(reply.source)];
    if (opener !== answerer) return opener ? 'local' : 'remote';
    return opener ? undefined : 'new';
  }
}

function totalsOf({ original, reply }: Entry, origin: Origin): Totals | undefined {
  if (original.bytes === undefined || reply.bytes === undefined) return undefined;
  const [out, arrived] = origin === 'local' ? [original, reply] : [reply, original];
  return [arrived.bytes!, out.bytes!, arrived.packets ?? 0, out.packets ?? 0];
}

function readXml(text: string): Half | undefined {
  return halfOf((name) => new RegExp(`<${name}>([^<]*)<`).exec(text)?.[1]);
}

function readFields(fields: readonly RegExpMatchArray[]): Half | undefined {
  return halfOf((name) => fields.find((field) => field[1] === name)?.[2]);
}

function halfOf(get: (name: string) => string | undefined): Half | undefined {
  const [source, destination] = [parseAddress(get('src') ?? ''), parseAddress(get('dst') ?? '')];
  const number = (name: string) => {
    const text = get(name);
    return text === undefined ? undefined : Number(text);
  };
  return source && destination && source.length === destination.length
    ? {
        ...{ source, destination, sourcePort: number('sport'), destinationPort: number('dport') },
        ...{ bytes: number('bytes'), packets: number('packets') },
      }
    : undefined;
}

const textOf = ({ source, destination, sourcePort, destinationPort }: Half): string =>
  `${source.join('.')} ${sourcePort} ${destination.join('.')} ${destinationPort}`;
