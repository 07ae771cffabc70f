import { expect, it } from 'vitest';
import { readCountingRules, readFilters, readSetExpiry } from '../../src/kernel/index.ts';

it('finds the rules that count, whose they are, and where they forward', () => {
  // As nft 1.0.6 prints it.
  const text = `{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
    {"chain": {"family": "inet", "table": "headgate", "name": "police-in-1", "handle": 1}},
    {"rule": {"family": "inet", "table": "headgate", "chain": "police-in-1", "handle": 5, "comment": "alias4", "expr": [
      {"counter": {"packets": 9, "bytes": 900}}, {"limit": "police-1-in"}, {"counter": {"packets": 2, "bytes": 200}}, {"drop": null}]}},
    {"rule": {"family": "inet", "table": "headgate", "chain": "a", "handle": 6, "expr": [{"accept": null}]}},
    {"rule": {"family": "netdev", "table": "headgate", "chain": "arrive-wan", "handle": 3, "expr": [
      {"counter": {"packets": 1, "bytes": 28}}, {"fwd": {"dev": "hg-wan"}}]}}]}`;
  expect(readCountingRules(text)).toEqual([
    {
      chain: 'police-in-1',
      comment: 'alias4',
      counts: [
        { packets: 9, bytes: 900 },
        { packets: 2, bytes: 200 },
      ],
    },
    { chain: 'arrive-wan', counts: [{ packets: 1, bytes: 28 }], forwardsTo: 'hg-wan' },
  ]);
});

it('reads what a filter has redirected', () => {
  const text =
    '[{"protocol":"all","pref":7,"kind":"u32","chain":0,"options":{"fh":"800::800","match":{"value":"0","mask":"0","offmask":"","off":0},"actions":[{"order":1,"kind":"mirred","mirred_action":"redirect","direction":"egress","to_dev":"i0","index":1,"stats":{"bytes":336,"packets":4,"drops":0}}]}}]';
  expect(readFilters(text)).toMatchObject([{ redirected: { to: 'i0', packets: 4, bytes: 336 } }]);
});

it('reads when the last element of a set runs out', () => {
  // As nft 1.0.6 prints it; of none it prints no `elem`.
  const listed = (elem: string) =>
    `{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"set": {"name": "taken"${elem}}}]}`;
  const until = (...expires: number[]) =>
    readSetExpiry(
      listed(`, "elem": [${expires.map((s) => `{"elem": {"val": "ip", "timeout": 5, "expires": ${s}}}`)}]`),
    );
  expect(until(4, 3)).toBe(4000);
  expect(until(0)).toBe(1);
  expect(readSetExpiry(listed(''))).toBe(0);
  expect(readSetExpiry(listed(', "elem": ["ip", 34916]'))).toBeUndefined();
});
