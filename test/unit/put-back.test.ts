// What of a tree is not as it was made, told by tc's words, and the commands that make it so again.

import { describe, expect, it } from 'vitest';
import { changedTree } from '../../src/apply/index.ts';
import { formatDetail, putBackTree, type Tree, type TreePlace } from '../../src/shape/index.ts';

const numbers = { burst: 9000, cburst: 9000, quantum: 1500, prio: 0 };
const tree: Tree = {
  kind: 'htb',
  rate: 50e6,
  classes: [
    { queue: 'a', minor: 1, parent: 0x100, rate: 30e6, ceil: 50e6, ...numbers, leaf: { kind: 'bfifo', limit: 9000 } },
    { queue: 'b', minor: 2, parent: 0x100, rate: 20e6, ceil: 50e6, ...numbers, leaf: { kind: 'fq_codel' } },
  ],
};
const place: TreePlace = { device: 'hg-wan', major: 0x7fe0, tree };
const made = `class htb 7fe0:1 parent 7fe0:100 leaf 7f01: prio 0 quantum 1500 rate 30Mbit ceil 50Mbit level 0
class htb 7fe0:100 root rate 50Mbit ceil 50Mbit level 7
class htb 7fe0:2 parent 7fe0:100 leaf 7f02: prio 0 quantum 1500 rate 20Mbit ceil 50Mbit level 0
qdisc bfifo 7f01: parent 7fe0:1 limit 9000b
qdisc fq_codel 7f02: parent 7fe0:2 limit 10240p target 5ms
qdisc htb 7fe0: root r2q 10 default 0`;

const changed = (from: string | RegExp, to: string) => changedTree(place, made, made.replace(from, to));
const commands = (from: string | RegExp, to: string) =>
  putBackTree(changed(from, to)!).command.input!.trim().split('\n');

describe('a tree', () => {
  it('as it was made, or with something of others beside, has nothing to be put back', () => {
    expect(changed('', '')).toBeUndefined();
    expect(
      changed(/$/, '\nclass htb 7fe0:77 parent 7fe0:100 rate 1Mbit\nqdisc sfq 77: parent 7fe0:77'),
    ).toBeUndefined();
    // HTB's root takes no change of it.
    expect(changed('r2q 10', 'r2q 1')).toBeUndefined();
  });

  it('with other rates gets its own, in place', () => {
    const odd = changed('rate 20Mbit ceil 50Mbit', 'rate 1Mbit ceil 9Mbit')!;
    expect(odd.details.map(formatDetail)).toEqual(['class 7fe0:2: rate 1Mbit -> 20Mbit, ceil 9Mbit -> 50Mbit']);
    expect(putBackTree(odd).touches).toBeUndefined();
    expect(commands('rate 20Mbit', 'rate 1Mbit')).toEqual([
      expect.stringMatching(/^class replace dev hg-wan parent 7fe0:100 classid 7fe0:2 htb rate 20000000bit /),
    ]);
    expect(commands('root rate 50Mbit', 'root rate 5Mbit')).toEqual([expect.stringContaining('classid 7fe0:100 htb')]);
  });

  it('with another limit gets its own, where the leaf takes that; else the leaf is made anew', () => {
    expect(commands('limit 9000b', 'limit 1b')).toEqual([
      'qdisc replace dev hg-wan parent 7fe0:1 handle 7f01: bfifo limit 9000',
    ]);
    expect(commands('target 5ms', 'target 9ms')).toEqual([
      'qdisc replace dev hg-wan parent 7fe0:2 handle 7f00: pfifo',
      'qdisc replace dev hg-wan parent 7fe0:2 handle 7f02: fq_codel',
    ]);
    expect(commands('qdisc bfifo 7f01:', 'qdisc pfifo 1:')).toEqual([
      'qdisc replace dev hg-wan parent 7fe0:1 handle 7f00: pfifo',
      'qdisc replace dev hg-wan parent 7fe0:1 handle 7f01: bfifo limit 9000',
    ]);
    expect(putBackTree(changed('target 5ms', 'target 9ms')!).touches).toMatch(/is lost/);
  });

  it('without one of its classes, or with one that stands elsewhere, gets it back with its leaf', () => {
    expect(commands(/class htb 7fe0:1 .*\n/, '')).toEqual([
      expect.stringMatching(/^class replace .* classid 7fe0:1 htb/),
    ]);
    expect(commands('7fe0:2 parent 7fe0:100', '7fe0:2 parent 7fe0:1')).toEqual([
      'class del dev hg-wan classid 7fe0:2',
      expect.stringMatching(/^class replace .* parent 7fe0:100 classid 7fe0:2 htb/),
      'qdisc replace dev hg-wan parent 7fe0:2 handle 7f02: fq_codel',
    ]);
  });
});
