import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Command } from '../../src/model/index.ts';
import { parseAddress } from '../../src/model/index.ts';
import { TupleMap } from '../../src/pipeline/index.ts';
import { MAX_TUPLES, type MapKey, mapKeyOf } from '../../src/shape/index.ts';

const key = (port: number, family: 4 | 6 = 4): MapKey =>
  mapKeyOf(17, {
    source: parseAddress(family === 4 ? '192.0.2.2' : '2001:db8::2')!,
    destination: parseAddress(family === 4 ? '192.0.2.1' : '2001:db8::1')!,
    sourcePort: 53,
    destinationPort: port,
  })!;

const unexpected = (error: unknown): void => expect.unreachable(String(error));

/** nft and its maps: a run changes all that it says or nothing, and refuses to add what is there and to delete what is not. */
class Kernel {
  readonly maps: Record<string, Map<string, string>> = { flows4: new Map(), flows6: new Map() };
  runs = 0;
  refusals = 0;
  failing = 0;

  readonly run = async ({ input }: Command): Promise<void> => {
    this.runs++;
    await Promise.resolve();
    if (this.failing > 0) {
      this.failing--;
      throw new Error('nft was refused');
    }
    const next = Object.fromEntries(Object.entries(this.maps).map(([name, map]) => [name, new Map(map)]));
    try {
      for (const line of input!.trim().split('\n')) this.apply(line, next);
    } catch (error) {
      this.refusals++;
      throw error;
    }
    Object.assign(this.maps, next);
  };

  private apply(line: string, maps: Record<string, Map<string, string>>): void {
    const [, verb, name, elements = ''] = /^(\w+) (?:element|map) netdev headgate (\w+)(?: \{ (.*) \})?$/.exec(line)!;
    const map = maps[name!]!;
    if (verb === 'flush') map.clear();
    for (const element of elements.split(', ').filter(Boolean)) {
      const [tuple, classid] = element.split(' : ');
      if (map.has(tuple!) === (verb === 'add')) throw new Error(`${verb} ${element}`);
      if (verb === 'add') map.set(tuple!, classid!);
      else map.delete(tuple!);
    }
  }

  get all(): Record<string, string> {
    return Object.fromEntries([...this.maps.flows4!, ...this.maps.flows6!]);
  }
}

describe('the map of arriving tuples', () => {
  it('is what was set, in the families’ maps, by one run for many', async () => {
    const kernel = new Kernel();
    const map = new TupleMap(kernel.run, unexpected);
    for (let port = 1; port <= 100; port++) map.set(key(port), 3);
    map.set(key(5, 6), 1);
    await map.flush();
    expect(kernel.runs).toBe(1);
    expect(kernel.maps.flows4!.size).toBe(100);
    expect(kernel.maps.flows4!.get('192.0.2.2 . 192.0.2.1 . 17 . 53 . 7')).toBe('7fe0:3');
    expect([...kernel.maps.flows6!]).toEqual([['2001:db8::2 . 2001:db8::1 . 17 . 53 . 5', '7fe0:1']]);
    await map.flush();
    expect(kernel.runs).toBe(1);
  });

  it('knows no tuple of a protocol without ports', () => {
    const address = parseAddress('192.0.2.1')!;
    expect(mapKeyOf(47, { source: address, destination: address })).toBeUndefined();
  });

  it('follows any changes, of which some come while it writes, without a refusal', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.tuple(fc.nat(5), fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined })))),
        async (batches) => {
          const kernel = new Kernel();
          const map = new TupleMap(kernel.run, unexpected);
          const wanted = new Map<string, string>();
          const written: Promise<void>[] = [];
          for (const batch of batches) {
            for (const [port, number] of batch) {
              map.set(key(port), number);
              if (number === undefined) wanted.delete(key(port).text);
              else wanted.set(key(port).text, `7fe0:${number}`);
            }
            written.push(map.flush());
            await Promise.resolve();
          }
          await Promise.all([...written, map.flush()]);
          expect(kernel.all).toEqual(Object.fromEntries(wanted));
          expect(kernel.refusals).toBe(0);
        },
      ),
    ));

  it('fills both anew when somebody else has changed them', async () => {
    const kernel = new Kernel();
    const map = new TupleMap(kernel.run, unexpected);
    for (const port of [1, 2, 3]) map.set(key(port), 1);
    await map.flush();
    kernel.maps.flows4!.delete(key(2).text);
    map.set(key(2), 3);
    map.set(key(1), undefined);
    await map.flush();
    expect(kernel.all).toEqual({ [key(2).text]: '7fe0:3', [key(3).text]: '7fe0:1' });
  });

  it('says that it cannot be written, and tries again with the next change', async () => {
    const kernel = new Kernel();
    const failures: unknown[] = [];
    const map = new TupleMap(kernel.run, (error) => failures.push(error));
    kernel.failing = 1_000_000;
    map.set(key(1), 1);
    await map.flush();
    expect(failures).toHaveLength(1);
    expect(kernel.runs).toBeLessThan(5);
    kernel.failing = 0;
    map.set(key(2), 2);
    await map.flush();
    expect(Object.keys(kernel.all)).toHaveLength(2);
  });

  it('holds so many and no more, and has room again when some have gone', async () => {
    const kernel = new Kernel();
    const said: unknown[] = [];
    const map = new TupleMap(kernel.run, (error) => said.push(error));
    const ports = Array.from({ length: MAX_TUPLES }, (_, i) => ({ ...key(1), text: `tuple ${i}` }));
    for (const one of ports) map.set(one, 1);
    map.set(key(9), 1);
    map.set(key(10), 1);
    map.set(key(9, 6), 1);
    await map.flush();
    expect(said).toEqual([new Error('it has room for 65536 flows of each family; others go where unknown ones go')]);
    expect([kernel.maps.flows4!.size, kernel.maps.flows6!.size]).toEqual([MAX_TUPLES, 1]);
    map.set(ports[0]!, undefined);
    await map.flush();
    map.set(key(9), 1);
    await map.flush();
    expect(kernel.maps.flows4!.has(key(9).text)).toBe(true);
  });

  it('has room for as many in each place where there are several, and says it in the words of whose they are', async () => {
    const said: unknown[] = [];
    const written: string[] = [];
    const commands = {
      full: 'no room in the set',
      change: (changes: readonly { key: MapKey }[]) => {
        written.push(...changes.map((one) => one.key.place!));
        return { argv: ['nft'] as const };
      },
      flush: () => ({ argv: ['nft'] as const }),
    };
    const map = new TupleMap(
      async () => {},
      (error) => said.push(error),
      commands,
    );
    for (const place of ['in', 'out'])
      for (let i = 0; i <= MAX_TUPLES; i++) map.set({ family: 4, text: `tuple ${i}`, place }, 1);
    await map.flush();
    expect(said).toEqual([new Error('no room in the set')]);
    expect(['in', 'out'].map((place) => written.filter((one) => one === place).length)).toEqual([
      MAX_TUPLES,
      MAX_TUPLES,
    ]);
  });
});
