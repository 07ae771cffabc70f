import { type MarkField, markFieldOf, roomOf } from '../model/index.ts';
import type { Queues } from './check-queue.ts';
import type { Scope } from './scope.ts';
import type { MarksSyntax } from './syntax.ts';

/** The field that the policy asks for; undefined where it leaves that open, or has a mistake. */
export function checkMarks(
  statements: readonly MarksSyntax[],
  queues: Queues,
  { diagnostics, sources }: Scope,
): MarkField | undefined {
  const [first, ...others] = statements;
  for (const other of others) diagnostics.add('duplicate-marks', other, { line: sources.lineFrom(other, first!) });
  if (!first?.mask) return undefined;
  const found = first.mask.text;
  const field = /^0x[0-9a-f]{1,8}$/i.test(found) ? markFieldOf(Number(found)) : undefined;
  if (!field) {
    diagnostics.add('bad-marks', first.mask, { found });
    return undefined;
  }
  const count = queues.policies.filter(({ name }) => !queues.inner.has(name)).length;
  if (count > roomOf(field)) diagnostics.add('narrow-marks', first.mask, { found, room: roomOf(field), count });
  return field;
}
