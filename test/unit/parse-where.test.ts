import { expect, it } from 'vitest';
import { formatCondition, parseWhere } from '../../src/language/index.ts';

const policy = { sets: [{ name: 'busy', prefixes: [] }] };
const said = (text: string) => {
  const { condition, diagnostics } = parseWhere(text, policy);
  return condition ? formatCondition(condition) : diagnostics.map(({ message }) => message).join('; ');
};

it('reads what stands behind `when`', () => {
  expect(said('origin remote and rate.out > 1mbit')).toBe('origin remote and rate.out > 1mbit');
  expect(said('tcp and not (remote in 10.0.0.0/8 or remote in busy)')).toBe(
    'tcp and not (remote in 10.0.0.0/8 or remote in busy)',
  );
});

it('says what is wrong', () => {
  expect(said('origin remotely')).toMatch(/remotely/);
  expect(said('')).toMatch(/expected/i);
  expect(said('tcp -> seed')).toMatch(/"->"/);
  expect(said('tcp nonsense')).toMatch(/nonsense/);
  expect(said('rate > 1mbit for 10s')).toMatch(/without "for"/);
  expect(said('x'.repeat(10_001))).toMatch(/long|characters/);
});
