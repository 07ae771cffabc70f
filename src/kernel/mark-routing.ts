import type { MarkUse } from '../model/index.ts';

/** A rule of routing as `ip -json rule show` tells it. */
interface IpRule {
  readonly priority: number;
  readonly fwmark?: string;
  readonly fwmask?: string;
  readonly not?: null;
  readonly table?: string;
}

/** Reads what `ip -json rule show` prints: ip-rule(8), fwmark. */
export function readRuleMarks(text: string, family: 4 | 6): MarkUse[] {
  const rules = text.trim() === '' ? [] : (JSON.parse(text) as IpRule[]);
  return rules.flatMap(({ priority, fwmark, fwmask, not, table }): MarkUse[] => {
    if (fwmark === undefined) return [];
    const mark = `${not === undefined ? '' : 'not '}fwmark ${fwmark}${fwmask === undefined ? '' : `/${fwmask}`}`;
    const where = `ip -${family} rule ${priority}: ${mark}${table === undefined ? '' : ` lookup ${table}`}`;
    const use = { who: `ip -${family} rule ${priority}`, where, of: 'packet' } as const;
    // As wg-quick(8) does it: the number of the table is the mark.
    const quick = not !== undefined && fwmask === undefined && Number(fwmark) === Number(table);
    return fwmask === undefined
      ? [{ ...use, who: quick ? 'wg-quick' : use.who, bits: Number(fwmark), whole: 'compares' }]
      : [{ ...use, bits: Number(fwmask) }];
  });
}
