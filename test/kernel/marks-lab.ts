// What the tests of marks share: a policy, and somebody else who uses marks, beside ours: a table of nft that gives every flow to a
// port a mark of its own, in the bits that are not ours, restores it to the packets, and counts packets and entries whose mark is
// another behind all hooks.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Namespace } from '../../src/lab/index.ts';
import { formatMark, type MarkField } from '../../src/model/index.ts';

const HEAD = `link wan { device wan  download 50mbit  upload 50mbit }
queue local { share 60% }  queue new { share 10% }  queue remote { share 10% }  queue special { share 5% }
default local -> local  remote -> remote  new -> new
`;
export const RULES = {
  none: '',
  five: 'rule five when remote.port 5000 -> special\n',
  all: 'rule all when origin local -> special\nrule theirs when origin remote -> new\n',
};

/** Writes a policy of four queues with these rules, and says where it stands: always in the same file of a folder. */
export async function writePolicy(folder: string, rules: string): Promise<string> {
  const file = join(folder, 'marks.gate');
  await writeFile(file, HEAD + rules);
  return file;
}

/** Marks by destination port. */
export type ForeignMarks = Readonly<Record<number, number>>;

export class Foreigner {
  readonly #box: Namespace;
  readonly #marks: ForeignMarks;
  readonly #field: MarkField;

  private constructor(box: Namespace, marks: ForeignMarks, field: MarkField) {
    this.#box = box;
    this.#marks = marks;
    this.#field = field;
  }

  /** @param field bits that are not its own */
  static async add(box: Namespace, marks: ForeignMarks, field: MarkField): Promise<Foreigner> {
    const foreigner = new Foreigner(box, marks, field);
    await box.feed(foreigner.#table(), 'nft', '-f', '-');
    return foreigner;
  }

  #table(): string {
    const [ours, others] = [this.#field.mask, ~this.#field.mask >>> 0].map(formatMark);
    const ports = Object.entries(this.#marks).map(([port, mark]) => ({ port, mark: formatMark(mark) }));
    // The mark itself keeps our bits as they are: it is written with a mask, as ours is.
    const set = ports.flatMap(({ port, mark }) =>
      ['udp', 'tcp'].map((l4) => `ct state new ${l4} dport ${port} ct mark set ct mark and ${ours} or ${mark}`),
    );
    const check = ports.flatMap(({ port, mark }) =>
      ['udp', 'tcp'].flatMap((l4) => {
        const own = `meta l4proto ${l4} ct original proto-dst ${port}`;
        return [
          `${own} ct mark and ${others} != ${mark} counter name "changed-flow"`,
          `${own} meta mark != ${mark} counter name "changed-packet"`,
          `${own} counter name "seen"`,
        ];
      }),
    );
    const chain = (name: string, hook: string, rules: readonly string[]) =>
      `  chain ${name} {\n    ${hook}\n${rules.map((rule) => `    ${rule}\n`).join('')}  }\n`;
    return `table inet foreign {
  counter changed-flow { }
  counter changed-packet { }
  counter seen { }
${chain('assign', 'type filter hook prerouting priority mangle; policy accept;', [...set, `meta mark set ct mark and ${others}`])}
${chain('check-in', 'type filter hook input priority 300; policy accept;', check)}
${chain('check-out', 'type filter hook postrouting priority 300; policy accept;', check)}
}
`;
  }

  /** Packets that it looked at, and those that came with another mark than its own. */
  async counters(): Promise<Record<'seen' | 'changed-flow' | 'changed-packet', number>> {
    const text = await this.#box.run('nft', 'list', 'counters', 'table', 'inet', 'foreign');
    return Object.fromEntries(
      [...text.matchAll(/counter (\S+) \{\s*packets (\d+)/g)].map(([, name, count]) => [name, Number(count)]),
    ) as Awaited<ReturnType<Foreigner['counters']>>;
  }

  /** The entries of its flows whose foreign bits are other than they were set, as `conntrack -L` writes them; and how many there are. */
  async entries(): Promise<{
    readonly count: number;
    readonly changed: readonly string[];
    readonly marks: readonly number[];
  }> {
    const texts = await Promise.all(
      ['ipv4', 'ipv6'].map((family) => this.#box.run('conntrack', '-L', '-f', family).catch(() => '')),
    );
    const lines = texts.flatMap((text) => text.split('\n')).filter((line) => this.#markOf(line) !== undefined);
    const marks = lines.map((line) => Number(/ mark=(\d+)/.exec(line)?.[1] ?? 0));
    const changed = lines.filter((line, i) => ((marks[i]! & ~this.#field.mask) ^ this.#markOf(line)!) !== 0);
    return { count: lines.length, changed, marks };
  }

  #markOf(line: string): number | undefined {
    const port = /\bdport=(\d+)/.exec(line)?.[1];
    return port === undefined ? undefined : this.#marks[Number(port)];
  }
}
