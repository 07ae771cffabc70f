import type { Subscriber } from 'rxjs';
import { afterEach, expect, it, vi } from 'vitest';
import { whileOpen } from '../../src/facts/source.ts';
import { FactDesk, REOPEN_MS } from '../../src/pipeline/fact-desk.ts';
import type { AskedFlow, FactAnswer } from '../../src/pipeline/index.ts';
import { flowOf } from './swarm-scenes.ts';

afterEach(() => vi.useRealTimers());

it('a source that breaks is opened again, also where that fails at first, and asked about the flows there are', () => {
  vi.useFakeTimers();
  const opened: { subscriber: Subscriber<FactAnswer>; asked: AskedFlow[] }[] = [];
  let broken = false;
  const source = whileOpen({ word: 'unit', supplies: ['unit'] }, (subscriber) => {
    if (broken) throw new Error('no socket');
    const asked: AskedFlow[] = [];
    opened.push({ subscriber, asked });
    return { ask: (flow) => asked.push(flow), end: () => {}, counts: {} };
  });
  const problems: string[] = [];
  const desk = new FactDesk(
    [source],
    () => {},
    (error) => problems.push((error as Error).message),
  );
  const flows = [1, 2, 3].map((port) => flowOf('local', 'tcp', port, '198.51.100.1', 443));
  const ask = (row: number) => desk.ask(row, ['unit'], () => flows[row]!);

  desk.follow(new Set(['unit']));
  ask(0);
  ask(1);
  opened[0]!.subscriber.next({ flow: flows[0]!, facts: { unit: 'a.service' } });
  broken = true;
  opened[0]!.subscriber.error(new Error('EMFILE'));
  vi.advanceTimersByTime(REOPEN_MS);
  desk.forget(1);
  ask(2);
  broken = false;
  vi.advanceTimersByTime(REOPEN_MS);
  expect(problems).toEqual(['EMFILE', 'no socket']);
  expect(opened.map(({ asked }) => asked)).toEqual([
    [flows[0], flows[1]],
    [flows[0], flows[2]],
  ]);
  expect(desk.factsOf(0)).toEqual({ unit: 'a.service' });
  opened[1]!.subscriber.next({ flow: flows[2]!, facts: { unit: 'b.service' } });
  expect(desk.factsOf(2)).toEqual({ unit: 'b.service' });

  opened[1]!.subscriber.error(new Error('EMFILE'));
  desk.close();
  vi.advanceTimersByTime(2 * REOPEN_MS);
  expect([opened.length, vi.getTimerCount()]).toEqual([2, 0]);
});
