import { readNumber, readValue } from './check-value.ts';
import type { Token } from './lexer.ts';
import { didYouMeanOneOf } from './nearest.ts';
import type { Overhead } from './policy.ts';
import type { Scope } from './scope.ts';
import type { SettingSyntax } from './syntax.ts';
import { isOneOf, LINK_LAYERS } from './vocabulary.ts';

type Preset = readonly [bytes: number, mpu: number, linkLayer: Overhead['linkLayer']];

/**
 * What kinds of line add to each packet, as tc-cake(8) has it (iproute2, tc/q_cake.c), but for `raw`, which is to say
 * nothing, and for what only says again where packets are counted.
 */
export const OVERHEADS: Readonly<Record<string, Preset>> = {
  conservative: [48, 0, 'atm'],
  'ipoa-vcmux': [8, 0, 'atm'],
  'ipoa-llcsnap': [16, 0, 'atm'],
  'bridged-vcmux': [24, 0, 'atm'],
  'bridged-llcsnap': [32, 0, 'atm'],
  'pppoa-vcmux': [10, 0, 'atm'],
  'pppoa-llc': [14, 0, 'atm'],
  'pppoe-vcmux': [32, 0, 'atm'],
  'pppoe-llcsnap': [40, 0, 'atm'],
  'pppoe-ptm': [30, 0, 'ptm'],
  'bridged-ptm': [22, 0, 'ptm'],
  docsis: [18, 64, 'ethernet'],
  ethernet: [38, 84, 'ethernet'],
  'ether-vlan': [42, 84, 'ethernet'],
};

/** Bytes that can be said (tc-cake(8)). */
const LEAST = -64;
const MOST = 256;

/** `overhead PRESET`, or `overhead BYTES [mpu BYTES] [ethernet|atm|ptm]`. */
export function checkOverhead({ value, more }: SettingSyntax, { diagnostics }: Scope): Overhead | undefined {
  if (!value) return undefined;
  if (value.kind !== 'literal') {
    const preset = value.text;
    const known = Object.hasOwn(OVERHEADS, preset) ? OVERHEADS[preset] : undefined;
    if (!known) {
      const names = Object.keys(OVERHEADS);
      const fields = { found: preset, what: 'a kind of line', known: names.join(', ') };
      diagnostics.add('unknown-value', value, fields, didYouMeanOneOf(preset, names));
      return undefined;
    }
    if (more.length > 0) diagnostics.add('preset-and-more', more[0]!, { preset, found: more[0]!.text });
    const [bytes, mpu, linkLayer] = known;
    return { preset, bytes, mpu, linkLayer };
  }
  const bytes = readBytes(value, diagnostics);
  const at = more.findIndex((token) => token.text === 'mpu');
  const mpuToken = at >= 0 ? more[at + 1] : undefined;
  const mpu = mpuToken ? readNumber(mpuToken, 'mpu', 'a number of bytes', MOST, diagnostics) : 0;
  const layer = more.find((token) => isOneOf(LINK_LAYERS, token.text))?.text as Overhead['linkLayer'] | undefined;
  if (bytes === undefined || mpu === undefined) return undefined;
  return { bytes, mpu, linkLayer: layer ?? 'ethernet' };
}

function readBytes(token: Token, diagnostics: Scope['diagnostics']): number | undefined {
  const negative = token.text.startsWith('-');
  const number = negative ? { ...token, text: token.text.slice(1) } : token;
  const amount = readValue(number, ['number'], 'overhead', 'a number of bytes, or a kind of line', diagnostics)?.number;
  if (amount === undefined) return undefined;
  const bytes = negative ? -amount : amount;
  if (Number.isInteger(bytes) && bytes >= LEAST && bytes <= MOST) return bytes;
  diagnostics.add('out-of-range', token, {
    what: 'an overhead',
    range: `${LEAST} to ${MOST} bytes`,
    found: token.text,
  });
  return undefined;
}
